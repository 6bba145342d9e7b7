"""HTTP to streaming: one consumer for a listener's stream and for watching a channel."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import Any, ClassVar
from urllib.parse import parse_qs

from channels.exceptions import StopConsumer
from channels.generic.http import AsyncHttpConsumer
from django.db import Error as DatabaseError
from django.http import parse_cookie
from django.utils.module_loading import import_string

from eric_sse_django import authorization, conf, drain, wire
from eric_sse_django.database.rows import channel_row, check_identifier, listener_row
from eric_sse_django.exception import (
    InvalidChannelException,
    InvalidIdentifier,
    InvalidListenerException,
)
from eric_sse_django.hub import Hub
from eric_sse_django.models import Channel, Listener
from eric_sse_django.streaming import Outlet, Stream

logger = logging.getLogger(__name__)

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),  # nginx holds even the headers back without it
    (b"vary", b"Cookie"),
]
METHODS = b"GET, HEAD, OPTIONS"
# Seconds a request waits for the database, before it is asked to come back: shorter than a
# proxy's patience, whose 504 would end an EventSource for good.
ADMIT_TIMEOUT_S = 5.0
# Digits of the largest position a database column holds.
POSITION_DIGITS = 19


class Refused(Exception):
    """The request gets a plain answer instead of a stream."""

    def __init__(self, status: int, text: str = "", headers: Any = ()) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text
        self.headers = list(headers)


class StreamConsumer(AsyncHttpConsumer):
    """
    Serves one stream. Notices at once when the client has left, and cleans up once.

    Writes no row, and holds no database connection and no layer channel while it is open.
    """

    scope: Any
    # Else Channels opens a layer channel for every stream.
    channel_layer_alias: ClassVar[Any] = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._receive = receive  # Channels does not listen to it while handle() runs
        await super().__call__(scope, receive, send)

    async def http_request(self, message: Any) -> None:
        """Answer at once: a request for a stream has no body, and one that has is not kept."""
        try:
            await self.handle(b"")
        finally:
            await self.disconnect()
        raise StopConsumer

    async def handle(self, body: bytes) -> None:
        try:
            self._check_method()
            self._check_accept()
            drain.install()
            hub = Hub.for_running_loop()
            channel, stream = await asyncio.wait_for(self._admitted(hub), ADMIT_TIMEOUT_S)
        except Refused as refused:
            await self._refuse(refused)
        except (DatabaseError, asyncio.TimeoutError):
            await self._put_off()  # the hub tells of the database
        except Exception:
            logger.exception("a stream could not be opened path=%s", self.scope["path"])
            await self._put_off()
        else:
            if self.scope["method"] == "HEAD":
                await self.send_response(200, b"", headers=HEADERS)
                return
            async with stream:
                await self._serve(stream, channel)

    async def _admitted(self, hub: Hub) -> tuple[Channel, Stream]:
        """Return what the client may have, not begun yet; raises Refused."""
        await hub.ready()
        as_of = hub.tail.position
        channel, listener, ends_at = await hub.run(self._admit)
        return channel, Stream(hub, channel, listener, self._last_event_id(), ends_at, as_of)

    async def _refuse(self, refused: Refused) -> None:
        headers = [(b"content-type", b"text/plain; charset=utf-8"), *refused.headers]
        await self.send_response(refused.status, refused.text.encode(), headers=headers)

    async def _put_off(self) -> None:
        """
        Have the client come back later: nobody can be let in or turned away now.

        Not 503: an EventSource takes every status but 200 for the end.
        """
        if self.scope["method"] == "HEAD":
            await self.send_response(503, b"", headers=[(b"retry-after", b"5")])
            return
        retry_ms = int(conf.get("RETRY_MS") * random.uniform(1, 2))
        await self.send_response(200, wire.farewell(retry_ms), headers=HEADERS)

    async def _serve(self, stream: Stream, channel: Channel) -> None:
        """Write the stream until it ends or the client leaves."""
        outlet = Outlet(self.base_send)
        gone = asyncio.ensure_future(self._watch(stream))
        try:
            await self.send_headers(headers=HEADERS)
            encode = import_string(conf.get("CHANNEL_CLASS"))(channel).encode
            await stream.serve(outlet.write, encode)
            if stream.was_cut and stream.reason != "client left":
                outlet.cut()
        except OSError:  # ASGI 2.4: send() may raise it once the client has left
            stream.end("client left")
        except Exception:
            # The log has it still: the client gets it once what failed is mended.
            stream.end("error")
            logger.exception("a stream failed path=%s", self.scope["path"])
            await outlet.write(b"", False)
        finally:
            gone.cancel()
            outlet.release()
            stream.close()  # no await before: Daphne's shutdown may not come back to us
            self._log(stream)

    async def _watch(self, stream: Stream) -> None:
        """Wait until the client leaves; what it sends meanwhile is dropped."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        stream.abort("client left")

    def _log(self, stream: Stream) -> None:
        level = logging.WARNING if stream.reason == "send timeout" else logging.INFO
        ids = self.scope["url_route"]["kwargs"]
        logger.log(
            level,
            "stream closed channel=%s listener=%s sent=%d reason=%s",
            ids["channel_id"],
            ids.get("listener_id"),
            stream.sent,
            stream.reason,
        )

    # The request ----------------------------------------------------------------

    def _check_method(self) -> None:
        method = self.scope["method"]
        if method == "OPTIONS":
            raise Refused(204, headers=[(b"allow", METHODS)])
        if method not in ("GET", "HEAD"):
            raise Refused(405, "Open a stream with GET.\n", [(b"allow", METHODS)])

    def _check_accept(self) -> None:
        accept = self._header(b"accept")
        if accept is None:
            return
        ranges = [part.split(";")[0].strip().lower() for part in accept.split(",")]
        if not {"text/event-stream", "text/*", "*/*"} & set(ranges):
            raise Refused(406, "Streams are text/event-stream: accept that.\n")

    def _admit(self) -> tuple[Channel, Listener | None, float | None]:
        """
        Return what may be streamed, and when leave ends. Called on the hub's thread.

        Raises Refused: 403 for whom no rule lets in (also where nothing exists, so that
        nobody learns what does), 204 for a listener that was stopped or removed: that
        ends an EventSource for good.
        """
        ids = self.scope["url_route"]["kwargs"]
        channel_id, listener_id = ids["channel_id"], ids.get("listener_id")
        ticket = self._ticket()
        holder = ticket is not None and ticket.covers(channel_id, listener_id)
        try:
            # No query for what cannot be an id: PostgreSQL raises ValueError for a NUL.
            channel = channel_row(check_identifier(channel_id))
            listener = None
            if listener_id is not None:
                listener = listener_row(channel, check_identifier(listener_id))
        except (InvalidIdentifier, InvalidChannelException, InvalidListenerException):
            raise Refused(204 if holder else 403, "" if holder else FORBIDDEN) from None
        if not holder and not self._owns(listener):
            raise Refused(403, FORBIDDEN)
        if listener is not None and not listener.running:
            raise Refused(204)
        if ticket is None or not holder:
            return channel, listener, None
        return channel, listener, time.monotonic() + ticket.expires_at - time.time()

    def _ticket(self) -> authorization.Ticket | None:
        text = self._query().get("ticket", [None])[-1]
        if text is None:
            return None
        try:
            return authorization.read_ticket(text)
        except authorization.InvalidTicket as invalid:
            raise Refused(403, f"{invalid}\n") from invalid

    def _owns(self, listener: Listener | None) -> bool:
        if listener is None or listener.owner_id is None:
            return False
        user = self.scope.get("user")  # where a middleware of the project's has found it
        if user is not None:
            return bool(user.is_authenticated and user.pk == listener.owner_id)
        cookies = parse_cookie(self._header(b"cookie", "; ") or "")
        return bool(authorization.session_user_key(cookies) == listener.owner_id)

    def _last_event_id(self) -> int | None:
        """
        Return the position the client names, None without a usable one.

        The header counts before `?last_event_id=`: the browser sends it when it comes
        back by itself, with the URL of the first time.
        """
        for text in (self._header(b"last-event-id"), *self._query().get("last_event_id", [])):
            digits = (text or "").strip().removeprefix("-")
            if digits.isascii() and digits.isdigit():
                sign = -1 if (text or "").strip().startswith("-") else 1
                return sign * int(digits) if len(digits) <= POSITION_DIGITS else sign * 2**63
        return None

    def _query(self) -> dict[str, list[str]]:
        return parse_qs(self.scope.get("query_string", b"").decode("ascii", "replace"))

    def _header(self, name: bytes, between: str = ",") -> str | None:
        """Return a header's value, or its values joined; HTTP/2 sends a cookie in several."""
        found = [value for key, value in self.scope["headers"] if key.lower() == name]
        return between.join(value.decode("latin-1") for value in found) if found else None


FORBIDDEN = "This stream is its listener's owner's, or who holds a ticket for it.\n"
