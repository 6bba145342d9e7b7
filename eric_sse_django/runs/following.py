"""Following a run: its chunks as they are written, to its end."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

from eric_sse_django.database.events import entries
from eric_sse_django.exception import InvalidListenerException
from eric_sse_django.hub import Hub
from eric_sse_django.listener import MessageQueueListener
from eric_sse_django.models import Channel, Listener
from eric_sse_django.runs import reading
from eric_sse_django.runs.chunks import ENDS, Chunk, chunks_of
from eric_sse_django.runs.exceptions import RunEnded
from eric_sse_django.runs.models import Run
from eric_sse_django.runs.reaping import reap_one

# Seconds between two queries of a thread that follows a run.
LOOK_S = 0.1
# Seconds between two checks whether its producer is gone.
REAP_S = 5.0


class follow:
    """
    The chunks of a run from the index `after` on, as they are written, to its end.

    With `async for`, the loop's hub delivers them, as it does to streams. With `for`, a thread
    queries the log. Both end with the run: its row then has the status, the result, the error. A
    lost run also ends them. Raise RunEnded if the run is removed, and StreamEnded if access is
    revoked or the process shuts down.
    """

    def __init__(self, run: Run, after: int = 0) -> None:
        self.run = run
        self.after = after

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return afollow(self.run, self.after)

    def __iter__(self) -> Iterator[Chunk]:
        run, position, after = self.run, self.run.listener.start, self.after
        reap_at = 0.0
        while True:
            now = time.monotonic()
            if now >= reap_at:
                reap_one(run)
                reap_at = now + REAP_S
            had_ended = not run.is_active
            is_over = False
            for entry in reading.entries(run, position):
                position = entry.position
                for chunk in fresh(chunks_of(entry), after):
                    after = chunk.index + 1
                    yield chunk
                is_over = entry.type in ENDS
            if is_over:
                run.refresh_from_db()
            if had_ended or (is_over and not run.is_active):
                return
            time.sleep(LOOK_S)


async def afollow(run: Run, after: int = 0) -> AsyncIterator[Chunk]:
    """As follow(), for `async for`."""
    hub = Hub.for_running_loop()
    await hub.ready()
    await hub.run(reap_one, run)
    if not run.is_active:
        # Its end may have been removed: nothing comes any more.
        for chunk in await hub.run(_all, run, after):
            yield chunk
        return
    reader = MessageQueueListener()
    reader.start()
    try:
        async with aclosing(entries(lambda: _rows(run), reader, run.listener.start)) as found:
            async for entry in found:
                for chunk in fresh(chunks_of(entry), after):
                    after = chunk.index + 1
                    yield chunk
                if entry.type in ENDS:
                    await Hub.for_running_loop().run(run.refresh_from_db)
                    if not run.is_active:  # another producer continues one that was lost
                        break
    except InvalidListenerException:
        raise RunEnded(run.id, "removed") from None


def fresh(chunks: list[Chunk], after: int) -> list[Chunk]:
    """Return the chunks from an index on: a compaction repeats all of them, as one message."""
    if not chunks or chunks[0].index >= after:
        return chunks
    return [chunk for chunk in chunks if chunk.index >= after]


def _all(run: Run, after: int) -> list[Chunk]:
    return list(reading.read(run, after))


def _rows(run: Run) -> tuple[Channel, Listener] | None:
    row = Listener.objects.select_related("channel").filter(pk=run.pk).first()
    if row is None:
        raise InvalidListenerException(run.id)
    return (row.channel, row) if row.running else None
