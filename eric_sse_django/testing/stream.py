"""
A client of the project's own ASGI application, in the process of a test.

The application, the hub and their queries run on the test's thread, and only while the test waits
for something: so streams see what the test's transaction has written, a TestCase is enough, no
thread is left, and the database may be in memory.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from django.utils.module_loading import import_string

from eric_sse_django.sse import Event, SSEReader
from eric_sse_django.testing.place import Place

# Seconds that a test waits for an event at most.
TIMEOUT_S = 5.0
# Seconds for which the application runs before other coroutines of an async test do.
TURN_S = 0.02
_real_monotonic = time.monotonic


class NoEvent(AssertionError):
    """The event that a test waits for did not come."""


class StreamClient:
    """
    A client of one stream: `with StreamClient(url) as stream`, or `async with`.

    `status`, `headers` (names in lower case), `body` (its bytes), `comments`, `retry_ms`,
    `last_event_id` and `ended` are as of the last call. Each method that runs the stream has an
    async twin with the prefix `a`.
    """

    def __init__(
        self,
        url: str,
        *,
        user: Any = None,
        client: Client | None = None,
        headers: Mapping[str, str] | None = None,
        last_event_id: str | int = "",
        application: Any = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """
        `url` is what stream_url() and its like return. The session is that of a logged-in
        `user`, or of Django's test `client`; `application` is that of ASGI_APPLICATION by default.
        """
        self.url, self.timeout_s = url, timeout_s
        self._user, self._client = user, client
        self._headers = {"accept": "text/event-stream", **(headers or {})}
        self._given_application = application
        self._reader = SSEReader(str(last_event_id))
        self._place: Place | None = None
        self._events: list[Event] = []
        self._forget()

    def _forget(self) -> None:
        self.status, self.body, self.ended = 0, b"", False
        self.headers: dict[str, str] = {}
        self._events.clear()
        self._receive: asyncio.Queue[Any] | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def last_event_id(self) -> str:
        """The id of the last event that came, which a reconnect sends."""
        return self._reader.last_event_id

    @property
    def retry_ms(self) -> int | None:
        """After how many milliseconds a browser would reconnect, None if that was not sent."""
        return self._reader.retry_ms

    @property
    def comments(self) -> list[str]:
        """The comments that came, heartbeats among them."""
        return self._reader.comments

    # Opening and closing ----------------------------------------------------------

    def open(self) -> StreamClient:
        """Send the request, and return when the response has begun."""
        if self._place is None:
            self._place = Place()
        try:
            self._place.run(self._begin, self._scope())
            self._until(lambda: self.status or self.ended, "The application gave no response.")
            self._settle()
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Disconnect as a client that is closed does. May be called twice."""
        place, self._place = self._place, None
        if place is not None:
            place.run(self._leave)
            place.close()

    def reconnect(self) -> StreamClient:
        """Disconnect, and open the stream again with the last event's id, as browsers do."""
        self.disconnect()
        self._forget()
        self._reader = SSEReader(self._reader.last_event_id)
        return self.open()

    def disconnect(self) -> None:
        """Disconnect; reconnect() continues after the last event."""
        if self._place is not None:
            self._place.run(self._leave)

    def __enter__(self) -> StreamClient:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    # What comes -------------------------------------------------------------------

    def next(self, timeout_s: float | None = None) -> Event:
        """Return the next event. Raises NoEvent after `timeout_s`, and when the stream ends."""
        __tracebackhide__ = True  # pytest shows the line of the test
        self._until(lambda: self._events or self.ended, "No event came.", timeout_s)
        if not self._events:
            raise NoEvent(f"The stream has ended. {self._state()}")
        return self._events.pop(0)

    def events(self, count: int) -> list[Event]:
        """Return the next `count` events."""
        return [self.next() for _ in range(count)]

    def assert_silent(self) -> None:
        """Fail if an event comes for what is published by now. Does not wait for a time."""
        __tracebackhide__ = True
        self._settle()
        if self._events:
            raise AssertionError(f"An event came: {self._events[0]}")

    def wait_for_end(self, timeout_s: float | None = None) -> None:
        """Return when the server has ended the response. Raises NoEvent after `timeout_s`."""
        self._until(lambda: self.ended, "The stream has not ended.", timeout_s)

    def wait_for_comment(self, count: int = 1, timeout_s: float | None = None) -> None:
        """Return when `count` more comments have come: heartbeats."""
        wanted = len(self.comments) + count
        self._until(
            lambda: len(self.comments) >= wanted or self.ended, "No comment came.", timeout_s
        )
        if len(self.comments) < wanted:
            raise NoEvent(f"The stream has ended. {self._state()}")

    # Async twins ------------------------------------------------------------------

    async def aopen(self) -> StreamClient:
        """As open()."""
        return await sync_to_async(self.open)()

    async def aclose(self) -> None:
        """As close()."""
        await sync_to_async(self.close)()

    async def areconnect(self) -> StreamClient:
        """As reconnect()."""
        return await sync_to_async(self.reconnect)()

    async def anext(self, timeout_s: float | None = None) -> Event:
        """As next(). Other coroutines run while it waits."""
        until = _real_monotonic() + (self.timeout_s if timeout_s is None else timeout_s)
        while True:
            left_s = until - _real_monotonic()
            try:
                return await sync_to_async(self.next)(min(TURN_S, max(0.0, left_s)))
            except NoEvent:
                if left_s <= 0 or self.ended:
                    raise
            await asyncio.sleep(0)

    async def aevents(self, count: int) -> list[Event]:
        """As events()."""
        return [await self.anext() for _ in range(count)]

    async def aassert_silent(self) -> None:
        """As assert_silent()."""
        await sync_to_async(self.assert_silent)()

    async def await_for_end(self, timeout_s: float | None = None) -> None:
        """As wait_for_end()."""
        await sync_to_async(self.wait_for_end)(timeout_s)

    async def await_for_comment(self, count: int = 1, timeout_s: float | None = None) -> None:
        """As wait_for_comment()."""
        await sync_to_async(self.wait_for_comment)(count, timeout_s)

    async def __aenter__(self) -> StreamClient:
        return await self.aopen()

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    # On the loop of its place -------------------------------------------------------

    async def _begin(self, scope: dict[str, Any]) -> None:
        self._receive = asyncio.Queue()
        self._receive.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        application = self._given_application or project_application()
        serving = application(scope, self._receive.get, self._send)
        self._task = asyncio.ensure_future(serving)

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            pairs = message.get("headers", ())
            self.headers = {name.decode().lower(): value.decode() for name, value in pairs}
        elif message["type"] == "http.response.body":
            piece = message.get("body", b"")
            self.body += piece
            self._events += self._reader.feed(piece)
            self.ended = self.ended or not message.get("more_body", False)

    async def _leave(self) -> None:
        if self._task is None or self._receive is None:
            return
        self._receive.put_nowait({"type": "http.disconnect"})
        for ask in (self._task.cancel, lambda: None):
            # An application that ignores both is abandoned: nothing runs it any longer.
            await asyncio.wait({self._task}, timeout=min(TIMEOUT_S, self.timeout_s))
            ask()
        if self._task.done() and not self._task.cancelled():
            self._task.exception()  # it was asked for: asyncio does not report it
        self._task = None

    # Running it ---------------------------------------------------------------------

    def _until(
        self, condition: Callable[[], Any], failure: str, timeout_s: float | None = None
    ) -> None:
        """Run the application until something is true; raise NoEvent after a time."""
        __tracebackhide__ = True
        until = _real_monotonic() + (self.timeout_s if timeout_s is None else timeout_s)
        while not condition():
            if _real_monotonic() >= until:
                raise NoEvent(f"{failure} {self._state()}")
            self._opened().turn(TURN_S, condition)
            self._raise_failure()
        self._raise_failure()

    def _settle(self) -> None:
        """Run the application until it has delivered what is published by now."""
        if not self.ended:
            self._opened().settle()
            self._raise_failure()

    def _opened(self) -> Place:
        if self._place is None:
            raise RuntimeError("The stream is not open: use it in a `with` block, or call open().")
        return self._place

    def _raise_failure(self) -> None:
        """Raise what the application raised."""
        if self._task is not None and self._task.done():
            self.ended = True
            if not self._task.cancelled() and (error := self._task.exception()) is not None:
                raise error

    def _state(self) -> str:
        return f"{self.url} answered {self.status}, and sent {self.body[-500:]!r}."

    def _scope(self) -> dict[str, Any]:
        parts = urlsplit(self.url)
        headers = {"host": "testserver", **self._headers}
        if cookie := self._cookie():
            headers["cookie"] = cookie
        if self._reader.last_event_id:
            headers["last-event-id"] = self._reader.last_event_id
        encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": parts.scheme or "http",
            "path": parts.path,
            "raw_path": parts.path.encode(),
            "query_string": parts.query.encode(),
            "root_path": "",
            "headers": encoded,
            "client": ("127.0.0.1", 50_000),
            "server": ("testserver", 80),
        }

    def _cookie(self) -> str:
        if self._client is None and self._user is not None:
            self._client = Client()
            self._client.force_login(self._user)
        cookies = {} if self._client is None else self._client.cookies
        return "; ".join(f"{name}={morsel.value}" for name, morsel in cookies.items())


def project_application() -> Any:
    """Return the application of ASGI_APPLICATION. Raises ImproperlyConfigured without it."""
    path = getattr(settings, "ASGI_APPLICATION", None)
    if path is None:
        raise ImproperlyConfigured(
            'ASGI_APPLICATION is not set: set it, as to "mysite.asgi.application", or give the '
            "application to StreamClient()."
        )
    return import_string(path)
