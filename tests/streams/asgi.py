"""Requests to the ASGI application, in process."""

from __future__ import annotations

import asyncio
from typing import Any

from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore

from tests.sse import Event, SSEReader

TIMEOUT_S = 5.0


class Response:
    """One request and its response, as far as it has come. An async context manager."""

    def __init__(self, application: Any, path: str, method: str = "GET", **scope: Any) -> None:
        path, _, query = path.partition("?")
        self.scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [],
            **scope,
        }
        self._communicator = ApplicationCommunicator(application, self.scope)
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.complete = False
        self.reader = SSEReader()
        self.events: list[Event] = []

    async def send(self, message: dict[str, Any]) -> None:
        """Make the application receive a message."""
        await self._communicator.send_input(message)

    async def more(self) -> None:
        """Take the next message that the application sends."""
        message = await self._communicator.receive_output(TIMEOUT_S)
        if message["type"] == "http.response.start":
            self.status = message["status"]
            assert all(name == name.lower() for name, _ in message["headers"])
            self.headers = {k.decode(): v.decode() for k, v in message["headers"]}
        else:
            self.body += message["body"]
            self.events += self.reader.feed(message["body"])
            self.complete = not message.get("more_body", False)

    async def event(self) -> Event:
        """Return the next event."""
        while not self.events:
            assert not self.complete, self.body
            await self.more()
        return self.events.pop(0)

    async def end(self) -> Response:
        """Return when the response is complete, and the application has returned."""
        while not self.complete:
            await self.more()
        await self._communicator.wait(TIMEOUT_S)
        return self

    async def leave(self) -> None:
        """Leave as a client does; return when the application has returned."""
        await self.send({"type": "http.disconnect"})
        await self._communicator.wait(TIMEOUT_S)

    async def __aenter__(self) -> Response:
        await self.send({"type": "http.request", "body": b"", "more_body": False})
        await self.more()
        return self

    async def __aexit__(self, *_: object) -> None:
        task = self._communicator.future
        if not task.done():
            await self.send({"type": "http.disconnect"})
        await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), TIMEOUT_S)


async def answer(application: Any, path: str, method: str = "GET", **scope: Any) -> Response:
    """Return the complete response to a request."""
    async with Response(application, path, method, **scope) as response:
        return await response.end()


@sync_to_async
def session_of(user: Any) -> bytes:
    """Return the cookie of a new session of a user's."""
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return f"{settings.SESSION_COOKIE_NAME}={session.session_key}".encode()


async def inner(scope: Any, receive: Any, send: Any) -> None:
    """Answer as the project's own application: with the status 299."""
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": scope["type"].encode()})
