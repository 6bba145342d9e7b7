"""Reading a run's output: what there is."""

from __future__ import annotations

from collections.abc import Iterator

from eric_sse_django import log, notifier
from eric_sse_django.database.twins import has_twin, twin_of_function
from eric_sse_django.entry import Entry
from eric_sse_django.log import Recipient
from eric_sse_django.runs.chunks import Chunk, chunks_of
from eric_sse_django.runs.models import Run

# Entries that are read together.
PAGE = 1_000


def read(run: Run, after: int = 0) -> Iterator[Chunk]:
    """Yield the chunks that a run has, from the index `after` on. Queries as it is read."""
    for entry in entries(run):
        for chunk in chunks_of(entry):
            if chunk.index >= after:
                after = chunk.index + 1
                yield chunk


def entries(run: Run, position: int | None = None) -> Iterator[Entry]:
    """Yield the entries of a run's log after a position (None: all), up to the log's head."""
    notifier.settle()
    listener = run.listener
    after = listener.start if position is None else position
    upto = log.head().position
    while after < upto:
        page = log.read([Recipient(listener.channel_id, run.pk, None, after)], upto, PAGE)
        yield from page
        after = page.reached


@has_twin
def _all(run: Run, after: int = 0) -> list[Chunk]:
    return list(read(run, after))


aread = twin_of_function(_all)
