"""What all consumers do: admit a request, write until one side ends the stream, clean up once."""

from __future__ import annotations

import asyncio
import logging
import random
from abc import abstractmethod
from collections.abc import Awaitable, Coroutine
from typing import Any, ClassVar, Protocol

from channels.generic.http import AsyncHttpConsumer
from django.db import Error as DatabaseError

from eric_sse_django import conf, shutdown, wire
from eric_sse_django.cancelling import within
from eric_sse_django.consumers import limits, origin
from eric_sse_django.consumers.request import (
    Ids,
    Refused,
    StreamRequest,
    check_method,
    check_size,
)
from eric_sse_django.hub import End, Hub, totals
from eric_sse_django.outage import Quiet
from eric_sse_django.streaming import Response
from eric_sse_django.streaming.clock import LAST_WRITE_S

logger = logging.getLogger(__name__)
failures = Quiet()

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),  # without it nginx buffers even the headers
    # A proxy does not compress an encoded response: Caddy sent no byte before it had 2 KiB.
    (b"content-encoding", b"identity"),
]
# Of a response that is not a stream. Caches keep a 204 or 404 without this (Varnish for two
# minutes): that of a stopped listener would end each client that reconnects meanwhile.
REFUSAL = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
# Seconds after which a client may repeat a HEAD if the database is unavailable.
UNAVAILABLE_RETRY_S = 5
# Seconds until a stream is open, or its client is asked to retry: less than a proxy's timeout,
# whose 504 would end an EventSource permanently.
OPEN_TIMEOUT_S = 10.0


class Served(Protocol):
    """What a consumer writes: a stream or the monitor's snapshots."""

    reason: End | None
    was_cut: bool

    def end(self, reason: End) -> None: ...

    def abort(self, reason: End) -> None: ...


class EventConsumer(AsyncHttpConsumer):
    """
    Answers one request with an event stream; reacts at once when the client disconnects.

    It holds no database connection and no layer channel while the stream is open. What exists
    for long is kept small: coroutines that wait for each other, and the objects of their frames,
    were half of the memory of a stream.
    """

    scope: Any
    # Else Channels opens a layer channel for every stream.
    channel_layer_alias: ClassVar[Any] = None
    # Whether it takes seats of the limits, such as MAX_STREAMS.
    is_limited: ClassVar[bool] = True

    def __init__(self, ids: Ids | None = None) -> None:
        """`ids` are those of the path, if no router has put them into the scope."""
        super().__init__()
        self._ids = ids
        self._cors: origin.Headers = []

    def __call__(self, scope: Any, receive: Any, send: Any) -> Coroutine[Any, Any, None]:
        """
        Answer without reading a body: a request for a stream has none.

        Channels' own dispatcher does not read messages while a handler runs, and would keep a
        task and six frames for each stream: 2 KiB.
        """
        self.scope, self.base_send, self._receive = scope, send, receive
        self.request = StreamRequest(scope, self._ids)
        return self.handle(b"")

    @abstractmethod
    def admit(self, hub: Hub, seat: limits.Seat) -> Awaitable[Any]:
        """Return what the request may be served; raise Refused, or limits.Full."""

    @abstractmethod
    async def open(self, hub: Hub, admission: Any) -> Any:
        """Return what is served, open: from now on it misses nothing."""

    @abstractmethod
    def write(self, served: Any, response: Response) -> Awaitable[None]:
        """Write it until it ends."""

    @abstractmethod
    def clean_up(self, served: Any) -> None:
        """Close it. Called once; must not wait: a server that stops may not resume it."""

    async def handle(self, body: bytes) -> None:
        with limits.Seat() as seat:
            served = await self._begin(seat)
            if served is not None:
                await self._serve(served)

    async def _begin(self, seat: limits.Seat) -> Any:
        """Return the opened stream; None if the request was answered."""
        try:
            check_size(self.request)
            self._cors = origin.check_origin(self.request)
            check_method(self.request)
            if self.is_limited:
                # Before any query: no more requests than this wait for the database.
                seat.take("MAX_STREAMS", "")
                seat.take("MAX_STREAMS_PER_ADDRESS", limits.address_of(self.scope))
            shutdown.install()
            served = await asyncio.wait_for(self._open(seat), OPEN_TIMEOUT_S)
            if served is not None:
                return served
            await self._answer(200, b"", self._headers())
        except Refused as refused:
            await self._refuse(refused)
        except limits.Full as full:
            await self._ask_to_retry(str(full), limits.retry_s())
        except (DatabaseError, asyncio.TimeoutError):
            await self._ask_to_retry()  # the hub logs outages of the database
        except Exception as error:  # noqa: BLE001 - logged, once while its kind lasts
            self._log("a stream could not be opened", error)
            await self._ask_to_retry()
        finally:
            self.request.release()
        return None

    async def _open(self, seat: limits.Seat) -> Any:
        """Return the opened stream; None for a HEAD."""
        hub = Hub.for_running_loop()
        await hub.ready()
        admission = await self.admit(hub, seat)
        return None if self.request.method == "HEAD" else await self.open(hub, admission)

    async def _serve(self, served: Served) -> None:
        """Write until it ends or the client disconnects; then clean_up(), once."""
        response = Response(self.base_send, self._receive, self.scope, self._headers())
        watching = asyncio.ensure_future(self._watch_client(served))
        try:
            shutdown.watch(response.stopping)
            await self.write(served, response)
            if served.was_cut and served.reason is not End.CLIENT_LEFT:
                response.cut()
                # A server records a closed connection in its next turn; before that it would
                # log that the response is not complete.
                await asyncio.sleep(0)
        except OSError:  # ASGI 2.4: send() may raise it once the client has disconnected
            served.end(End.CLIENT_LEFT)
        except Exception as error:  # noqa: BLE001 - as above
            # The message stays in the log: the client gets it once the error is fixed.
            served.end(End.ERROR)
            self._log("a stream failed", error)
            await self._end_response(response)
        finally:
            watching.cancel()
            response.release()
            self.clean_up(served)

    async def _end_response(self, response: Response) -> None:
        """End the response, also for a client that reads nothing."""
        try:
            await within(LAST_WRITE_S, _ended(response))
        except asyncio.TimeoutError:
            response.cut()

    async def _watch_client(self, served: Served) -> None:
        """Wait until the client disconnects; ignore what it sends."""
        while (await self._receive())["type"] != "http.disconnect":  # noqa: ASYNC110 - it waits for a message
            await asyncio.sleep(0)  # a receive() that never waits must not block the loop
        served.abort(End.CLIENT_LEFT)

    async def _refuse(self, refused: Refused) -> None:
        totals.refused(str(refused.status))
        refused.log(self.request)
        headers = [*REFUSAL, origin.VARY, *self._cors, *refused.headers]
        await self._answer(refused.status, refused.text.encode(), headers)

    def _log(self, what: str, error: Exception) -> None:
        """Log an error of other code, with its traceback: once while its kind lasts."""
        if failures.begins(f"{what} {type(error).__name__}"):
            logger.error("%s path=%.200r", what, self.request.path, exc_info=error)

    async def _ask_to_retry(
        self, why: str = "database unavailable", after_s: float | None = None
    ) -> None:
        """
        Ask the client to reconnect later: it can be neither admitted nor refused now.

        Not with 503: an EventSource stops permanently at every status but 200.
        """
        totals.refused(why)
        if self.request.method == "HEAD":
            retry_after = b"%d" % (after_s or UNAVAILABLE_RETRY_S)
            headers = [*REFUSAL, origin.VARY, *self._cors, (b"retry-after", retry_after)]
            await self._answer(503, b"", headers)
            return
        if after_s is None:
            usual_s = conf.get("RETRY_MS") / 1_000 * random.uniform(1, 2)
            after_s = max(usual_s, Hub.for_running_loop().away_rest_s())
        farewell = wire.farewell(int(after_s * 1_000))
        await self._answer(200, farewell, self._headers())

    async def _answer(self, status: int, body: bytes, headers: origin.Headers) -> None:
        """
        Send a complete response, also to a client that disconnects meanwhile.

        One that sends requests and reads no response has filled its connection's buffers: at a
        write's deadline the connection is cut.
        """
        sending = self.send_response(status, body, headers=headers)
        try:
            await within(conf.get("SEND_TIMEOUT_S"), sending)
        except asyncio.TimeoutError:  # before OSError, which it is since Python 3.11
            Response(self.base_send, self._receive, self.scope).cut()
        except OSError:  # ASGI 2.4
            pass

    def _headers(self) -> origin.Headers:
        return [*HEADERS, origin.VARY, *self._cors]


async def _ended(response: Response) -> None:
    await response.write(b"", False)
