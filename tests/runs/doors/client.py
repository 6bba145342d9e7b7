"""Requests to a site with doors, in process."""

from __future__ import annotations

import json
from typing import Any

from tests.patience import PATIENCE_S
from tests.streams.asgi import Response

TOKEN = b"c" * 32


class Visitor:
    """A browser with a session, and Django's token against forged requests."""

    def __init__(self, application: Any, cookie: bytes | None) -> None:
        self.application, self.cookie = application, cookie

    def open(self, path: str, method: str = "GET", body: Any = None, **headers: str) -> Requested:
        """Return a request, as an async context manager: its response, as far as it has come."""
        sent = [(b"host", b"testserver"), (b"x-csrftoken", TOKEN)]
        cookies = [b"csrftoken=" + TOKEN, *([] if self.cookie is None else [self.cookie])]
        sent.append((b"cookie", b"; ".join(cookies)))
        sent += [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]
        return Requested(self.application, path, method, body, headers=sent)

    async def get(self, path: str, **headers: str) -> Requested:
        """Return a complete response."""
        async with self.open(path, **headers) as response:
            await response.end()
            return response

    async def post(self, path: str, body: Any = None) -> Requested:
        """Return a complete response to a JSON body."""
        async with self.open(path, "POST", body) as response:
            await response.end()
            return response


class Requested(Response):
    """A request with a body."""

    def __init__(self, application: Any, path: str, method: str, body: Any, **scope: Any) -> None:
        super().__init__(application, path, method, **scope)
        self.sent: list[tuple[bytes, bytes]] = []
        self._body = b"" if body is None else json.dumps(body).encode()

    async def __aenter__(self) -> Requested:
        await self.send({"type": "http.request", "body": self._body, "more_body": False})
        await self.more()
        return self

    async def more(self) -> None:
        """Take the next message; Django's own headers have upper-case letters."""
        message = await self._communicator.receive_output(PATIENCE_S)
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.sent = list(message["headers"])
            self.headers = {k.decode().lower(): v.decode() for k, v in message["headers"]}
        else:
            self.body += message["body"]
            self.events += self.reader.feed(message["body"])
            self.complete = not message.get("more_body", False)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def values(self) -> list[Any]:
        """The JSON values of the events without names, as far as they have come."""
        found = []
        for block in self.body.decode().split("\n\n"):
            lines = [line[6:] for line in block.split("\n") if line.startswith("data: ")]
            if lines and lines != ["[DONE]"]:
                found.append(json.loads("\n".join(lines)))
        return found

    async def until(self, count: int) -> list[Any]:
        """Return so many values, once they have come."""
        while len(self.values) < count:
            await self.more()
        return self.values[:count]
