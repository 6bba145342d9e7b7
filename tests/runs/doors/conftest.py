"""What tests of doors need: the application with views, and a client that reads streams."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler

from eric_sse_django import notifier, runs
from eric_sse_django.hub import Hub
from eric_sse_django.routing import with_streams
from eric_sse_django.runs.models import Run
from tests.runs.doors.client import Visitor
from tests.streams.asgi import session_of


@pytest.fixture
async def visitor(ana: Any, settings: Any) -> AsyncIterator[Visitor]:
    """Return a client of the site with the doors' views, logged in as ana."""
    settings.ROOT_URLCONF = "tests.runs.doors.site"
    yield Visitor(with_streams(ASGIHandler()), await session_of(ana))
    await Hub.close_all()


@pytest.fixture
def produced(ana: Any) -> Callable[..., Any]:
    """Return a coroutine function: it makes a run of ana's, and writes values to it."""

    def produce(*values: Any, result: Any = None, **options: Any) -> Run:
        run: Run = runs.start(owner=ana, **options)
        with runs.produce(run) as out:
            write(out, values)
            out.result = result
        notifier.flush()
        return run

    return sync_to_async(produce)


def write(out: runs.Out, values: Any) -> None:
    """Write texts and JSON values."""
    for value in values:
        if isinstance(value, str):
            out.write(value)
        else:
            out.send(value)
