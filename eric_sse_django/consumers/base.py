"""What every consumer of ours does: let in, write until one side ends it, clean up once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from abc import abstractmethod
from collections.abc import Awaitable, Coroutine
from typing import Any, ClassVar, Protocol

from channels.generic.http import AsyncHttpConsumer
from django.db import Error as DatabaseError

from eric_sse_django import conf, drain, wire
from eric_sse_django.cancelling import within
from eric_sse_django.consumers import limits, origin
from eric_sse_django.consumers.refused import Refused, check, check_size
from eric_sse_django.consumers.request import Ids, StreamRequest
from eric_sse_django.hub import End, Hub, totals
from eric_sse_django.quiet import Quiet
from eric_sse_django.streaming import Response
from eric_sse_django.streaming.clock import LAST_WRITE_S

logger = logging.getLogger(__name__)
failures = Quiet()

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),  # nginx holds even the headers back without it
    # What is coded already, no proxy compresses: Caddy let no byte through until 2 KiB came.
    (b"content-encoding", b"identity"),
]
# Of an answer that is no stream. Caches keep a 204 or a 404 that says nothing of it (Varnish
# for two minutes): of a listener that was stopped it would end each client that comes then.
REFUSAL = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
# Seconds after which a HEAD is to be asked again, when the database was away.
AWAY_RETRY_S = 5
# Seconds until a stream is open, or its client is asked to try again: shorter than a
# proxy's patience, whose 504 would end an EventSource for good.
OPEN_TIMEOUT_S = 10.0


class Served(Protocol):
    """What is written: it can be ended, and tells how it did."""

    reason: End | None
    was_cut: bool

    def end(self, reason: End) -> None: ...

    def abort(self, reason: End) -> None: ...


class EventConsumer(AsyncHttpConsumer):
    """
    Answers one request with an event stream. Notices at once when the client has left.

    Holds no database connection and no layer channel while the stream is open. What is open
    for long is kept small: coroutines that wait for others, and what their frames refer to,
    were half of the memory of a stream.
    """

    scope: Any
    # Else Channels opens a layer channel for every stream.
    channel_layer_alias: ClassVar[Any] = None
    # Whether it takes a seat of those that MAX_STREAMS and its like give.
    is_limited: ClassVar[bool] = True

    def __init__(self, ids: Ids | None = None) -> None:
        """`ids` are those of the path, where a router has not put them into the scope."""
        super().__init__()
        self._ids = ids
        self._cors: origin.Headers = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """
        Answer at once: a request for a stream has no body, and one that has is not kept.

        Not by Channels' own dispatcher, which does not look at what comes while a handler
        runs, and would keep a task and six frames for each stream: 2 KiB.
        """
        self.scope, self.base_send, self._receive = scope, send, receive
        self.request = StreamRequest(scope, self._ids)
        await self.handle(b"")

    @abstractmethod
    async def admit(self, hub: Hub) -> Any:
        """Return what may be served; raise Refused where nothing may."""

    @abstractmethod
    async def open(self, hub: Hub, admitted: Any) -> Any:
        """Return what is served, open: from now on it misses nothing."""

    @abstractmethod
    def write(self, served: Any, response: Response) -> Awaitable[None]:
        """Write it until it ends."""

    @abstractmethod
    def clean_up(self, served: Any) -> None:
        """Close it. Called once; must not wait: a server that stops may not come back to us."""

    def user_key(self, admitted: Any) -> str | None:
        """Return the key of the user whose stream it is, None for nobody known."""
        return None

    async def handle(self, body: bytes) -> None:
        with limits.Seat() as seat:
            served = await self._let_in(seat)
            if served is not None:
                await self._write_out(served)

    async def _let_in(self, seat: limits.Seat) -> Any:
        """Return what is to be served, open; None where the request was answered."""
        try:
            check_size(self.request)
            self._cors = origin.check_origin(self.scope)
            check(self.request)
            if self.is_limited:
                seat.take_any(self.scope)
            drain.install()
            hub = Hub.for_running_loop()
            served = await asyncio.wait_for(self._admit_and_open(hub, seat), OPEN_TIMEOUT_S)
            if served is not None:
                return served
            await self._answer(200, b"", self._headers())
        except Refused as refused:
            await self._refuse(refused)
        except limits.Full as full:
            await self._put_off(str(full), limits.retry_s())
        except (DatabaseError, asyncio.TimeoutError):
            await self._put_off()  # the hub tells of the database
        except Exception as error:  # noqa: BLE001 - logged, once while its kind goes on
            self._log("a stream could not be opened", error)
            await self._put_off()
        finally:
            self.request.forget_query()  # it would be kept with the stream
        return None

    async def _admit_and_open(self, hub: Hub, seat: limits.Seat) -> Any:
        """Return what is to be served, open; None for a HEAD."""
        await hub.ready()
        admitted = await self.admit(hub)
        if self.is_limited:
            seat.take_of_user(self.user_key(admitted))
        return None if self.request.method == "HEAD" else await self.open(hub, admitted)

    async def _write_out(self, served: Served) -> None:
        """Write until it ends or the client leaves; then clean_up(), once."""
        response = Response(self.base_send, self._receive, self.scope)
        gone = asyncio.ensure_future(self._watch(served))
        try:
            if not await self._in_time(self.send_headers(headers=self._headers())):
                served.end(End.SEND_TIMEOUT)
                return
            drain.watch(response.stopping)
            await self.write(served, response)
            if served.was_cut and served.reason is not End.CLIENT_LEFT:
                response.cut()
                # Servers note that a connection is gone in a turn of their own; before it they
                # would log that its response is not complete.
                await asyncio.sleep(0)
        except OSError:  # ASGI 2.4: send() may raise it once the client has left
            served.end(End.CLIENT_LEFT)
        except Exception as error:  # noqa: BLE001 - as above
            # The log has it still: the client gets it once what failed is mended.
            served.end(End.ERROR)
            self._log("a stream failed", error)
            await self._end_now(response)
        finally:
            gone.cancel()
            response.release()
            self.clean_up(served)

    async def _end_now(self, response: Response) -> None:
        """End the response, also for a client that reads nothing."""
        try:
            await within(LAST_WRITE_S, _ended(response))
        except asyncio.TimeoutError:
            response.cut()

    async def _watch(self, served: Served) -> None:
        """Wait until the client leaves; what it sends meanwhile is dropped."""
        while (await self._receive())["type"] != "http.disconnect":  # noqa: ASYNC110 - it waits for what is sent
            await asyncio.sleep(0)  # a receive() that never waits is not to keep the loop
        served.abort(End.CLIENT_LEFT)

    async def _refuse(self, refused: Refused) -> None:
        totals.refused(str(refused.status))
        refused.log(self.request)
        headers = [*REFUSAL, origin.VARY, *self._cors, *refused.headers]
        await self._answer(refused.status, refused.text.encode(), headers)

    def _log(self, what: str, error: Exception) -> None:
        """Log an error of others' code or stores, with its traceback: once while it goes on."""
        if failures.begins(f"{what} {type(error).__name__}"):
            logger.error("%s path=%.200r", what, self.request.path, exc_info=error)

    async def _put_off(self, why: str = "put off", after_s: float | None = None) -> None:
        """
        Have the client come back later: nobody can be let in or turned away now.

        Not 503: an EventSource takes every status but 200 for the end.
        """
        totals.refused(why)
        if self.request.method == "HEAD":
            retry_after = b"%d" % (after_s or AWAY_RETRY_S)
            headers = [*REFUSAL, origin.VARY, *self._cors, (b"retry-after", retry_after)]
            await self._answer(503, b"", headers)
            return
        if after_s is None:
            usual_s = conf.get("RETRY_MS") / 1_000 * random.uniform(1, 2)
            after_s = max(usual_s, Hub.for_running_loop().away_rest_s())
        farewell = wire.farewell(int(after_s * 1_000))
        await self._answer(200, farewell, self._headers())

    async def _answer(self, status: int, body: bytes, headers: origin.Headers) -> None:
        """Send a whole answer, also to a client that leaves meanwhile."""
        with contextlib.suppress(OSError):  # ASGI 2.4
            await self._in_time(self.send_response(status, body, headers=headers))

    async def _in_time(self, sending: Coroutine[Any, Any, None]) -> bool:
        """
        Return whether something was sent before the deadline of a write; else cut the client.

        One that sends requests, and reads no answer, has filled what its connection takes.
        """
        try:
            await within(conf.get("SEND_TIMEOUT_S"), sending)
        except asyncio.TimeoutError:
            Response(self.base_send, self._receive, self.scope).cut()
            return False
        return True

    def _headers(self) -> origin.Headers:
        return [*HEADERS, origin.VARY, *self._cors]


async def _ended(response: Response) -> None:
    await response.write(b"", False)
