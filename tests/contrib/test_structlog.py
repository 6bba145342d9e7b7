"""structlog: the identifiers of this app's log lines are fields."""

import io
import json
import logging

import pytest

structlog = pytest.importorskip("structlog")

from eric_sse_django.contrib.structlog import eric_fields  # noqa: E402


@pytest.fixture
def lines():
    """Return a function that logs a record and returns it as structlog writes it."""

    def lines(name, form, *args):
        file = io.StringIO()
        handler = logging.StreamHandler(file)
        handler.setFormatter(
            structlog.stdlib.ProcessorFormatter(
                processors=[
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.JSONRenderer(),
                ],
                foreign_pre_chain=[structlog.stdlib.add_log_level, eric_fields],
                pass_foreign_args=True,
            )
        )
        logger = logging.Logger(name)  # noqa: LOG001 - only this test has it
        logger.addHandler(handler)
        logger.error(form, *args)
        return json.loads(file.getvalue())

    return lines


@pytest.mark.parametrize(
    ("form", "args", "expected"),
    [
        (
            "a rule did not answer in time rule=%s timeout=%s",
            ("Rules.can_watch", 3.0),
            {
                "event": "a rule did not answer in time",
                "rule": "Rules.can_watch",
                "timeout": 3.0,
            },
        ),
        (
            "a call has hung for %d s, another thread takes its place thread=%s at\n%s",
            (7, "eric-sse-hub", "line 1"),
            {
                "event": "a call has hung for 7 s, another thread takes its place at\nline 1",
                "thread": "eric-sse-hub",
            },
        ),
        ("receivers are %d%% slow listener=%r", (5, print), {"listener": repr(print)}),
        ("level=%s", ("mine",), {"level": "error", "event": ""}),
        ("no arguments: 100%", (), {"event": "no arguments: 100%"}),
    ],
)
def test_fields_leave_the_text(lines, form, args, expected):
    found = lines("eric_sse_django.hub", form, *args)
    assert {key: found[key] for key in expected} == expected


def test_records_of_others_stay_as_they_are(lines):
    assert lines("eric_sse_djangoes", "a=%s", 1) == {"event": "a=1", "level": "error"}
