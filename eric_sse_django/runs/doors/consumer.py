"""The consumer of runs: a stream of a run's listener, from the run's beginning, by a door."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from django.db import Error as DatabaseError
from django.utils import timezone

from eric_sse_django.consumers import Ids, Refused, StreamConsumer
from eric_sse_django.consumers.admission import Admission
from eric_sse_django.consumers.limits import Seat
from eric_sse_django.consumers.origin import Headers
from eric_sse_django.hub import End, Hub
from eric_sse_django.models import QueuedMessage
from eric_sse_django.runs.doors.door import FINAL_ENDS, LOST_WAIT_S, Door, lost_wait_s
from eric_sse_django.runs.exceptions import RunEnded
from eric_sse_django.runs.models import Run
from eric_sse_django.runs.reaping import reap_one
from eric_sse_django.runs.starting import get
from eric_sse_django.streaming import Response, Stream

LOST_STATUS = Run.Status.LOST.value
# Seconds between two looks whether anything follows the end of a lost run.
LOOK_S = 0.1
# Messages of a run beside its chunks, for its first page: more are in the next ones.
OTHERS = 32
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
        self._writer: _Writer | None = None
        self.reconnects = kind.reconnects

    async def admit(self, hub: Hub, seat: Seat) -> Admission:
        before = hub.follower.known.position
        run, end = await hub.run(_find, self._run_id)
        if run is not None:
            self.request.name((run.listener.channel.name, run.listener.name))
        admission = await super().admit(hub, seat)
        if run is None:
            return admission
        self._door = door = self._kind(run, self.request)
        door.read_at = before
        last = admission.last_event_id if door.reconnects else None
        if run.status != LOST_STATUS:
            door.continued_at = before
        if run.has_ended:
            if last is not None and last >= min(end or 0, run.end_position or MAX_POSITION):
                raise Refused(204)
            door.is_gone = end is None
        return replace(admission, last_event_id=last or 0)

    async def open(self, hub: Hub, admission: Admission) -> Stream:
        self._run_on = hub.run
        if self._door is not None and self._door.prepares:
            await hub.hooks.run(self._door.prepare)
        served = await super().open(hub, admission)
        if self._door is not None:
            served.reader.expect(self._door.run.next_index + OTHERS)
        return served

    def write(self, served: Stream, response: Response) -> Awaitable[None]:
        if self._door is None:
            return super().write(served, response)
        self._writer = writer = _Writer(self._door, served, response, self._run_on)
        return served.serve(writer.write, self._door, writer.at_once, self._blank)

    def clean_up(self, served: Stream) -> None:
        if self._writer is not None:
            self._writer.close()
        super().clean_up(served)

    def _headers(self) -> Headers:
        door = [] if self._door is None else [*self._door.headers]
        return [*super()._headers(), *door, *self._handed_over]


class _Writer:
    """Writes what a door adds to its stream: the opening, and the end with the run's."""

    def __init__(
        self, door: Door, served: Stream, response: Response, call: Callable[..., Awaitable[Any]]
    ) -> None:
        """`call` runs a function on the hub's thread."""
        self._door, self._served, self._response, self._call = door, served, response, call
        self._loop = asyncio.get_running_loop()
        self._opening: bytes | None = door.opening()
        self._waiting: asyncio.Task[None] | None = None

    def close(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()

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
        if self._door.over_at is not None:
            # The stream's cursor is moved after the write.
            self._loop.call_soon(self._end_if_over)
        elif self._door.lost is not None and self._waiting is None:
            self._waiting = self._loop.create_task(self._wait_for_producer())

    def _end_if_over(self) -> None:
        if self._is_over() and self._served.reason is None:
            self._served.end(End.COMPLETE)

    def _is_over(self) -> bool:
        over_at = self._door.over_at
        return over_at is not None and self._served.reader.cursor >= over_at

    async def _wait_for_producer(self) -> None:
        """End the stream of a lost run, if no other producer continues it soon."""
        door = self._door
        wait_s = lost_wait_s(door.run) if door.run.status == LOST_STATUS else LOST_WAIT_S
        while (lost := door.lost) is not None and self._served.reason is None:
            await asyncio.sleep(wait_s)
            wait_s = LOOK_S
            if door.lost is not lost or not self._served.reader.has_all():
                continue
            try:
                status = await self._call(_status_of, door.run)
            except DatabaseError:
                continue  # looked up again
            if status != LOST_STATUS:
                door.lost, door.continued_at = None, lost.position
            elif door.lost is lost:
                door.over_at = lost.position
                self._end_if_over()
        self._waiting = None


# The database ---------------------------------------------------------------------------


def _find(run_id: str) -> tuple[Run | None, int | None]:
    """Return a run, and if it has ended, the position of its end: see _end_of()."""
    try:
        run: Run = get(run_id)
        if run.status == Run.Status.RUNNING.value:
            reap_one(run)
    except (Run.DoesNotExist, RunEnded):
        return None, None
    return run, _end_of(run) if run.has_ended else None


def _status_of(run: Run) -> str | None:
    return Run.objects.filter(pk=run.pk).values_list("status", flat=True).first()


def _end_of(run: Run) -> int | None:
    """Return the position of an ended run's end, None if the log has it no more."""
    rows = QueuedMessage.objects.filter(
        channel=run.listener.channel_id, listener=run.pk, owner=None, type__in=FINAL_ENDS
    ).exclude(perishable=True, expires_at__lt=timezone.now())
    placed = rows.filter(position__isnull=False).order_by("-position")
    last = placed.values_list("position", flat=True).first()
    if last is not None:
        return int(last)
    # Its position will be later than all that there are.
    return MAX_POSITION if rows.exists() else None
