"""Output is written in groups: few commits, few rows, and the first chunk at once."""

import time
from contextlib import ExitStack

from eric_sse_django import runs
from eric_sse_django.runs import fence, writer
from tests.database.tools import entries
from tests.runs.tools import fresh, text_of, types_of
from tests.server import until


def counted(monkeypatch):
    """Return a list that gets the number of runs of each flush."""
    original, found = fence.write, []

    def write(flushes):
        found.append(len(flushes))
        return original(flushes)

    monkeypatch.setattr(fence, "write", write)
    return found


def test_runs_of_a_process_share_their_commits(database, monkeypatch, settings):
    settings.ERIC_SSE = {"RUNS_FLUSH_S": 0.05}
    all_runs = [runs.start() for _ in range(20)]
    with ExitStack() as stack:
        outs = [stack.enter_context(runs.produce(run)) for run in all_runs]
        for out in outs:
            out.write("first ")
        for out in outs:
            out.flush()
        flushes = counted(monkeypatch)
        began = time.monotonic()
        for _ in range(30):
            for out in outs:
                out.write("x")
            time.sleep(0.01)
        outs[0].flush()
        took_s = time.monotonic() - began
        assert len(flushes) <= took_s / 0.05 + 2
        assert max(flushes) == 20
    chunks = [entry for entry in entries() if entry.type == "run-chunk"]
    assert len(chunks) <= 20 * (len(flushes) + 2)
    assert {text_of(run) for run in all_runs} == {"first " + "x" * 30}
    assert {fresh(run).next_index for run in all_runs} == {31}


def test_the_first_chunk_does_not_take_along_what_other_runs_have(database, monkeypatch, settings):
    settings.ERIC_SSE = {"RUNS_FLUSH_S": 5.0}
    busy, run = runs.start(), runs.start()
    with runs.produce(busy) as other, runs.produce(run) as out:
        other.write("a")
        writer.current().flush()
        other.write("b")
        flushes = counted(monkeypatch)
        out.write("first ")
        assert until(lambda: text_of(run) == "first ", 5)
        assert flushes == [1]
        assert text_of(busy) == "a"
        out.write("second")
    assert text_of(busy) == "ab"
    assert text_of(run) == "first second"


def test_the_first_chunk_is_written_at_once_and_the_others_together(database, settings):
    settings.ERIC_SSE = {"RUNS_FLUSH_S": 5.0}
    busy, run = runs.start(), runs.start()
    with runs.produce(busy) as other, runs.produce(run) as out:
        other.write("a")
        writer.current().flush()
        began = time.monotonic()
        out.write("first ")
        while not text_of(run):
            time.sleep(0.005)
        assert time.monotonic() - began < 2
        for word in ("second ", "third ", "fourth"):
            out.write(word)
        out.send(1)
        out.send(2)
    assert types_of(run) == ["run-chunk", "run-chunk", "run-chunk", "run-finished"]
    assert text_of(run) == "first second third fourth"


def test_much_output_is_written_before_the_time_is_over(database, settings):
    settings.ERIC_SSE = {"RUNS_FLUSH_S": 5.0, "RUNS_FLUSH_BYTES": 100}
    run = runs.start()
    with runs.produce(run) as out:
        out.write("a")
        out.flush()
        began = time.monotonic()
        out.write("b" * 101)
        while len(text_of(run)) < 102:
            time.sleep(0.005)
        assert time.monotonic() - began < 2


def test_of_progress_the_last_one_is_kept_and_few_are_published(database):
    run = runs.start()
    with runs.produce(run) as out:
        for number in range(200):
            out.progress(number, 200, f"Page {number}")
        out.flush()
        out.progress(200, 200)
    assert fresh(run).progress == {"done": 200, "total": 200, "text": ""}
    assert 2 <= types_of(run).count("run-progress") <= 4


def test_a_producer_waits_for_the_database_when_it_is_too_fast(database, monkeypatch):
    monkeypatch.setattr("eric_sse_django.runs.producer.MAX_WAITING", 10_000)
    run, most = runs.start(), 0
    with runs.produce(run) as out:
        for _ in range(100):
            out.write("x" * 1_000)
            most = max(most, out._output.size)
    assert most <= 12_000
    assert len(text_of(run)) == 100_000
