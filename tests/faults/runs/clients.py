"""
Clients that follow one run over reconnects, each in its own format, as the real ones do.

They check each event as it arrives: what follows what, and that no text is repeated or missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import Sequence
from typing import Any

from tests.client import StreamClient, StreamEnded
from tests.sse import Event

# Seconds before a client reconnects.
RETRY_S = 0.1
# A page's token against forged requests: the cookie has the same.
TOKEN = "c" * 32


class RunClient:
    """
    One client of a run. `text` is what it shows, `is_complete` whether it knows that it has all.

    `wrong` are the events that it should not have got.
    """

    format: str

    def __init__(self, urls: Sequence[str], cookie: str, thread: str) -> None:
        self.thread = thread
        self.text = ""
        self.is_complete = False
        self.connections = 0
        self.wrong: list[str] = []
        self._urls = itertools.cycle(urls)
        self._cookie = cookie

    async def follow(self) -> None:
        """Follow the run to its end."""
        while not self.is_complete:
            with contextlib.suppress(OSError, EOFError, asyncio.TimeoutError, StreamEnded):
                await self._connect(next(self._urls))
            if not self.is_complete:
                await asyncio.sleep(RETRY_S)

    async def _connect(self, url: str) -> None:
        stream = await self.request(url)
        async with stream:
            if stream.status == 200:
                self.connections += 1
                self.begin()
                while True:
                    self.take(await stream.event(timeout_s=600))
                    self.last_event_id = stream.reader.last_event_id
            elif stream.status not in (204, 404, 409, 500, 502, 503):
                self.wrong.append(f"the status {stream.status}")
            self.answered(stream.status)

    async def get(self, url: str, last_event_id: str = "") -> StreamClient:
        headers = {"Cookie": self._cookie}
        return await StreamClient.open(url, headers=headers, last_event_id=last_event_id)

    async def post(self, url: str, body: Any) -> StreamClient:
        headers = {
            "Cookie": f"{self._cookie}; csrftoken={TOKEN}",
            "X-CSRFToken": TOKEN,
            "Content-Type": "application/json",
        }
        body = json.dumps(body).encode()
        return await StreamClient.open(url, headers=headers, method="POST", body=body)

    async def request(self, url: str) -> StreamClient:
        """Return the response of a server."""
        raise NotImplementedError

    def begin(self) -> None:
        """Note that a stream begins."""

    def take(self, event: Event) -> None:
        """Note an event."""
        raise NotImplementedError

    def answered(self, status: int) -> None:
        """Note that a server has answered without a stream."""


class PlainClient(RunClient):
    """An EventSource: it continues after the last id that it has, until it gets 204."""

    format = "plain"

    def __init__(self, urls: Sequence[str], cookie: str, thread: str, run_id: str) -> None:
        super().__init__(urls, cookie, thread)
        self._path = f"/events/runs/{run_id}/"
        self.last_event_id = ""
        self._next = 0
        self._end = ""

    async def request(self, url: str) -> StreamClient:
        return await self.get(url + self._path, self.last_event_id)

    def take(self, event: Event) -> None:
        if event.type == "run-chunk":
            chunk = json.loads(event.data)
            if chunk["i"] != self._next:
                self.wrong.append(f"the chunk {chunk['i']} instead of {self._next}")
            self._next = chunk["i"] + chunk["n"]
            self.text += chunk["text"]
        elif event.type in ("run-finished", "run-failed", "run-stopped"):
            if self._end:
                self.wrong.append(f"{event.type} after {self._end}")
            self._end = event.type
        elif event.type not in ("run", "run-progress", "run-lost"):
            self.wrong.append(f"the event {event.type}")

    def answered(self, status: int) -> None:
        self.is_complete = status == 204
        if self.is_complete and not self._end:
            self.wrong.append("204 before the end")


class AiSdkClient(RunClient):
    """A chat of the AI SDK: each stream has the whole message, from its `start` on."""

    format = "ai-sdk"
    run_id: str | None = None

    async def request(self, url: str) -> StreamClient:
        which = f"?run={self.run_id}" if self.run_id else ""
        return await self.get(f"{url}/api/chat/{self.thread}/stream{which}")

    def begin(self) -> None:
        self._types: list[str] = []
        self._before, self.text = self.text, ""

    def take(self, event: Event) -> None:
        if event.data == "[DONE]":
            if self._types[-1:] != ["finish"]:
                self.wrong.append(f"{self._types} before [DONE]")
            # After a loss the page is asked to resume: another worker may continue.
            self.is_complete = "error" not in self._types
            raise EOFError
        chunk = json.loads(event.data)
        if chunk["type"] == "data-progress":
            return
        if chunk["type"] == "text-delta":
            self.text += chunk["delta"]
            self._check_prefix()
        if chunk["type"] == "start":
            self.run_id = chunk["messageId"]
        if chunk["type"] not in FOLLOWS.get(self._types[-1] if self._types else "", ()):
            self.wrong.append(f"{chunk['type']} after {self._types[-3:]}")
        if not self._types or chunk["type"] != self._types[-1]:
            self._types.append(chunk["type"])

    def _check_prefix(self) -> None:
        short = min(len(self.text), len(self._before))
        if self.text[:short] != self._before[:short]:
            self.wrong.append("another text than on the connection before")


# What may follow an event; a run that was stopped or failed before its first text has none.
FOLLOWS = {
    "": ("start",),
    "start": ("text-start", "abort", "error", "finish"),
    "text-start": ("text-delta",),
    "text-delta": ("text-delta", "text-end"),
    "text-end": ("finish", "abort", "error"),
    "abort": ("finish",),
    "error": ("finish",),
    "RUN_STARTED": ("TEXT_MESSAGE_START", "RUN_FINISHED", "RUN_ERROR"),
    "TEXT_MESSAGE_START": ("TEXT_MESSAGE_CONTENT",),
    "TEXT_MESSAGE_CONTENT": ("TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END"),
    "TEXT_MESSAGE_END": ("RUN_FINISHED", "RUN_ERROR"),
}


class AgUiClient(RunClient):
    """An agent of AG-UI: it sends the same input again, and gets all events again."""

    format = "ag-ui"

    def __init__(self, urls: Sequence[str], cookie: str, thread: str, question: str) -> None:
        super().__init__(urls, cookie, thread)
        self._input = {
            "threadId": thread,
            "runId": f"run of {thread}",
            "messages": [{"id": "1", "role": "user", "content": question}],
            "tools": [],
            "context": [],
            "state": {},
            "forwardedProps": {},
        }

    async def request(self, url: str) -> StreamClient:
        return await self.post(f"{url}/api/agent", self._input)

    def begin(self) -> None:
        self._last = ""
        self._before, self.text = self.text, ""

    def take(self, event: Event) -> None:
        found = json.loads(event.data)
        kind = found["type"]
        if kind == "CUSTOM":
            return
        allowed = FOLLOWS[self._last] if self._last else ("RUN_STARTED",)
        if kind not in allowed:
            self.wrong.append(f"{kind} after {self._last or 'nothing'}")
        self._last = kind
        if kind == "TEXT_MESSAGE_CONTENT":
            self.text += found["delta"]
            short = min(len(self.text), len(self._before))
            if self.text[:short] != self._before[:short]:
                self.wrong.append("another text than on the connection before")
        elif kind in ("RUN_FINISHED", "RUN_ERROR"):
            # After a loss it asks again: another worker may continue.
            self.is_complete = kind == "RUN_FINISHED" or "interrupted" not in found["message"]
            raise EOFError
