"""What PostgreSQL cannot store in a run's row stops no run; clients get it as it was written."""

from contextlib import suppress

import pytest

from eric_sse_django import notifier, runs
from eric_sse_django.runs import reading
from eric_sse_django.runs.storable import storable_json, storable_text
from tests.runs.tools import fresh, text_of

BAD = "a\0b\ud800c\U0001f600"
STORED = "a\ufffdb\ufffdc\U0001f600"


def test_nuls_and_lone_surrogates_are_replaced_and_nothing_else():
    assert storable_text(BAD) == STORED
    assert storable_json('{"\\u0000": ["\\ud800x", 1.5, null]}') == (
        '{"\\ufffd": ["\\ufffdx", 1.5, null]}'
    )
    for text in ('{"a":"\\ud83d\\ude00"}', '{"a":"\\\\u0000"}', '{"a": "\\u00e9"}'):
        assert storable_json(text) in (text, text.replace(":", ": "))


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
    assert found.result == ({STORED: [STORED]} if end == "result" else None)
    assert found.error == (f"ValueError: {STORED}" if end == "error" else "")
    if end == "progress":
        assert found.progress["text"] == STORED
    if end == "upstream":
        assert found.upstream == {"id": STORED}


def test_clients_get_a_result_as_it_was_written(database):
    run = runs.start()
    with runs.produce(run) as out:
        out.result = BAD
    notifier.flush()
    assert "\\u0000b\\ud800" in list(reading.entries(run))[-1].payload
