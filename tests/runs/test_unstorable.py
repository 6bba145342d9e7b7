"""What a database cannot hold: it stops neither its run's end nor other runs of the process."""

from contextlib import suppress
from decimal import Decimal

import pytest
from django.db import DataError
from django.utils.translation import gettext_lazy

from eric_sse_django import notifier, runs
from eric_sse_django.runs import fence, reading, storable
from tests.runs.tools import fresh, text_of

BAD = "a\0b\ud800c\U0001f600"
GOOD = "a\ufffdb\ufffdc\U0001f600"


def test_progress_is_shown_whatever_its_text_and_numbers_are(database):
    run = runs.start()
    with runs.produce(run) as out:
        out.progress(Decimal("1.5"), 3, gettext_lazy(BAD))
    assert fresh(run).progress == {"done": 1.5, "total": 3, "text": GOOD}


@pytest.mark.parametrize("done", [float("nan"), float("inf"), 10**400, "3"])
def test_a_progress_that_is_no_number_is_refused_where_it_is_given(database, done):
    run = runs.start()
    with runs.produce(run) as out:
        with pytest.raises(ValueError, match="not a number"):
            out.progress(done, 10)
        out.write("more")
    assert (fresh(run).status, text_of(run)) == ("finished", "more")


def test_a_result_keeps_what_its_column_can_hold(database):
    run = runs.start()
    with runs.produce(run) as out:
        out.result = {"name": BAD, "pair": "\U0001f600", "escape": "\\u0000"}
    found = fresh(run)
    assert found.status == "finished"
    assert found.result == {"name": GOOD, "pair": "\U0001f600", "escape": "\\u0000"}


@pytest.mark.parametrize("kind", [runs.RunFailed, ValueError, KeyboardInterrupt])
def test_an_error_of_any_text_ends_the_run(database, kind):
    run = runs.start()
    with pytest.raises(kind), runs.produce(run):
        raise kind(BAD + "x" * 1_000_000)
    found = fresh(run)
    assert found.status in ("failed", "lost")
    assert GOOD in found.error
    assert len(found.error) == storable.MAX_CHARACTERS


def test_what_the_last_chunk_is_made_from_is_kept_with_it_or_refused_with_it(database):
    run = runs.start()
    with runs.produce(run) as out:
        with out.together({"id": BAD}):
            out.write("one")
        with pytest.raises(TypeError), out.together({"id": object()}):
            out.write("two")
    assert (fresh(run).upstream, text_of(run)) == ({"id": GOOD}, "one")


def test_output_that_a_database_refuses_fails_its_run_and_no_other(database, monkeypatch):
    """As nested JSON that MariaDB refuses, or a column's limit that nobody thought of."""
    bad, other = runs.start(), runs.start()
    write = fence.write

    def refusing(flushes):
        if any(each.run == bad.pk and "poison" in str(each.drafts) for each in flushes):
            raise DataError("too deep")
        return write(flushes)

    monkeypatch.setattr(fence, "write", refusing)

    def write_poison(there):
        with runs.produce(bad) as out:
            out.write("kept")
            out.flush()
            there.write("all ")
            out.write("poison")
            there.write("of it")
            out.flush()

    with runs.produce(other) as there, pytest.raises(DataError):
        write_poison(there)
    assert text_of(other) == "all of it"
    found = fresh(bad)
    assert (found.status, text_of(bad)) == ("failed", "kept")
    assert found.error == "DataError: too deep"
    assert next(iter(runs.follow(bad))).value == "kept"


def test_a_deep_result_ends_its_run_on_every_database(database):
    """MariaDB's JSON has 32 levels."""
    run, deep = runs.start(), []
    for _ in range(40):
        deep = [deep]
    try:
        with runs.produce(run) as out:
            out.result = deep
    except fence.REFUSALS:
        assert fresh(run).status == "failed"
    else:
        assert fresh(run).status == "finished"


@pytest.mark.parametrize("end", ["result", "error", "progress", "upstream"])
def test_a_value_that_cannot_be_stored_stops_no_run(database, end):
    run, other = runs.start(), runs.start()
    with runs.produce(other) as beside:
        beside.write("one ")
        with suppress(ValueError), runs.produce(run) as out:
            out.write(BAD)
            if end == "result":
                out.result = {BAD: [BAD]}
            elif end == "progress":
                out.progress(1, 2, BAD)
            elif end == "upstream":
                with out.together({"id": BAD}):
                    out.write("x")
            elif end == "error":
                raise ValueError(BAD)
        beside.write("two")
    assert text_of(other) == "one two"
    assert text_of(run).startswith(BAD)
    found = fresh(run)
    assert found.status == ("failed" if end == "error" else "finished")
    assert found.result == ({GOOD: [GOOD]} if end == "result" else None)
    assert found.error == (f"ValueError: {GOOD}" if end == "error" else "")
    if end == "progress":
        assert found.progress["text"] == GOOD
    if end == "upstream":
        assert found.upstream == {"id": GOOD}


def test_clients_get_a_result_as_it_was_written(database):
    run = runs.start()
    with runs.produce(run) as out:
        out.result = BAD
    notifier.flush()
    assert "\\u0000b\\ud800" in list(reading.entries(run))[-1].payload
