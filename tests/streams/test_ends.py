"""Why streams end: each reason's text, and the wait that its client is asked for."""

import re
from pathlib import Path

import pytest

from eric_sse_django.hub import End

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


@pytest.fixture(autouse=True)
def config(settings):
    settings.ERIC_SSE = {"RETRY_MS": 2_000, "DRAIN_S": 4}


def test_the_page_for_operators_has_each_reason():
    table = OPERATIONS.read_text().split("## Why streams end")[1].split("## ")[0]
    rows = set(re.findall(r"^\| `([a-z ]+)` \|", table, re.MULTILINE))
    assert rows == {str(end) for end in End} - {End.NOT_ALLOWED}


@pytest.mark.parametrize(
    ("end", "rest_s", "least", "most"),
    [
        (End.SEND_TIMEOUT, 0, 2_000, 2_000),
        (End.AGE, 0, 200, 2_000),
        (End.DISCONNECTED, 0, 200, 2_000),
        (End.DRAINING, 0, 1_000, 5_000),
        (End.ERROR, 0, 2_000, 3_000),
        (End.ERROR, 60, 60_000, 90_000),
        (End.DATABASE_UNAVAILABLE, 10, 10_000, 15_000),
    ],
)
def test_a_client_waits(end, rest_s, least, most):
    waits = [end.retry_ms(rest_s) for _ in range(100)]
    assert least <= min(waits) <= max(waits) <= most


def test_the_text_is_all_that_a_log_or_a_label_gets():
    assert f"{End.SEND_TIMEOUT} %s" % End.AGE == "send timeout age"
    assert End.AGE == "age"
