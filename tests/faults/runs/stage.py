"""What the run of kills reads and writes in the database."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model

from eric_sse_django.runs import read
from eric_sse_django.runs.models import Run
from tests.faults.runs.verdict import Row
from tests.streams.asgi import session_of


async def cookie() -> str:
    """Return the cookie of a new user's session."""
    user = await get_user_model().objects.acreate(username="ana")
    made: bytes = await session_of(user)
    return made.decode()


@sync_to_async
def run_of(thread: str) -> str | None:
    """Return the id of a thread's run, None before it has one."""
    found = Run.objects.filter(thread=thread).first()
    return None if found is None else found.id


@sync_to_async
def rows() -> list[Row]:
    """Return all runs, with their text as the log has it."""
    found = []
    for run in Run.objects.order_by("pk"):
        chunks = list(read(run))
        found.append(
            Row(
                *(run.thread, run.status, run.epoch, run.result),
                text="".join([chunk.value for chunk in chunks]),
                indexes=[chunk.index for chunk in chunks],
            )
        )
    return found
