"""The consumer of runs: a stream of a run's listener, from the run's beginning, by a door."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from eric_sse_django.consumers import Ids, Refused, StreamConsumer
from eric_sse_django.consumers.admission import Admission
from eric_sse_django.consumers.limits import Seat
from eric_sse_django.consumers.origin import Headers
from eric_sse_django.hub import End, Hub
from eric_sse_django.models import QueuedMessage
from eric_sse_django.runs.chunks import ENDS, LOST
from eric_sse_django.runs.doors.door import Door
from eric_sse_django.runs.exceptions import RunEnded
from eric_sse_django.runs.models import Run
from eric_sse_django.runs.reaping import reap_one
from eric_sse_django.runs.starting import get
from eric_sse_django.streaming import Response, Stream

# Seconds until it is looked again whether anything follows the end of a lost run.
LOOK_S = 0.05
FINAL_ENDS = ENDS - {LOST}
# The largest that a database column holds.
MAX_POSITION = 2**63 - 1


class RunConsumer(StreamConsumer):
    """
    Serves a run by a door.

    A listener that is no run is served as any other.
    """

    def __init__(self, ids: Ids, kind: type[Door], handed_over: Headers) -> None:
        """`handed_over` are headers of the view's response that handed over to this one."""
        super().__init__(ids)
        self._run_id, self._kind, self._handed_over = str(ids[1]), kind, handed_over
        self._door: Door | None = None
        self.reconnects = kind.reconnects

    async def admit(self, hub: Hub, seat: Seat) -> Admission:
        run = await hub.run(_find, self._run_id)
        if run is not None:
            self.request.name((run.listener.channel.name, run.listener.name))
        admission = await super().admit(hub, seat)
        if run is None:
            return admission
        self._door = door = self._kind(run, self.request)
        last = admission.last_event_id if door.reconnects else None
        if run.status != Run.Status.LOST.value:
            door.continued_at = admission.as_of or 0
        if run.has_ended:
            end = await hub.run(_end_of, run)
            if last is not None and last >= min(end or 0, run.end_position or MAX_POSITION):
                raise Refused(204)
            door.is_gone = end is None
        return replace(admission, last_event_id=last or 0)

    async def open(self, hub: Hub, admission: Admission) -> Stream:
        if self._door is not None and self._door.prepares:
            await hub.hooks.run(self._door.prepare)
        return await super().open(hub, admission)

    def write(self, served: Stream, response: Response) -> Awaitable[None]:
        if self._door is None:
            return super().write(served, response)
        writer = _Writer(self._door, served, response)
        return served.serve(writer.write, self._door, writer.at_once, self._blank)

    def _headers(self) -> Headers:
        door = [] if self._door is None else [*self._door.headers]
        return [*super()._headers(), *door, *self._handed_over]


class _Writer:
    """Writes what a door adds to its stream: the opening, and the end with the run's."""

    def __init__(self, door: Door, served: Stream, response: Response) -> None:
        self._door, self._served, self._response = door, served, response
        self._loop = asyncio.get_running_loop()
        self._opening: bytes | None = door.opening()

    async def write(self, chunk: bytes, more: bool) -> None:
        """Send a chunk; no last one to a client that would take the stream for complete."""
        if self._opening is not None:
            chunk, self._opening = chunk + self._opening, None
        if not more:
            is_over = self._is_over()
            if self._door.is_cut and not is_over:
                self._served.was_cut = True
                return
            chunk = self._door.last() + chunk if is_over else chunk
        if chunk or not more:
            await self._response.write(chunk, more)
        self._watch()

    def at_once(self) -> Callable[[bytes], bool | None] | None:
        """Return what sends a chunk without waiting, if the response has that."""
        send = self._response.at_once()
        if send is None:
            return None

        def write(chunk: bytes) -> bool | None:
            written = send(chunk) if chunk else True
            self._watch()
            return written

        return write

    def _watch(self) -> None:
        # The stream's cursor is moved after the write.
        if self._door.over_at is not None:
            self._loop.call_soon(self._end_if_over)

    def _end_if_over(self) -> None:
        if self._served.reason is not None or self._door.over_at is None:
            return
        if self._is_over():
            self._served.end(End.COMPLETE)
        elif self._door.lost is not None:
            # What follows is still to be read.
            self._loop.call_later(LOOK_S, self._end_if_over)

    def _is_over(self) -> bool:
        over_at, reader = self._door.over_at, self._served.reader
        if over_at is None or reader.cursor < over_at:
            return False
        return self._door.lost is None or reader.has_all()


# The database ---------------------------------------------------------------------------


def _find(run_id: str) -> Run | None:
    try:
        run: Run = get(run_id)
        if run.status == Run.Status.RUNNING.value:
            reap_one(run)
    except (Run.DoesNotExist, RunEnded):
        return None
    return run


def _end_of(run: Run) -> int | None:
    """Return the position of an ended run's end, None if the log has it no more."""
    rows = QueuedMessage.objects.filter(
        channel=run.listener.channel_id, listener=run.pk, owner=None, type__in=FINAL_ENDS
    )
    if rows.filter(position=None).exists():
        return MAX_POSITION  # its position will be later than all that there are
    last = rows.order_by("-position").values_list("position", flat=True).first()
    return None if last is None else int(last)
