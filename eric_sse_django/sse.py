"""An event stream reader, by the letter of the standard: for tests, the doctor and eric_tail."""

from __future__ import annotations

import codecs
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Event:
    """One dispatched event, as a page's listener would get it."""

    type: str
    data: str
    last_event_id: str

    def json(self) -> Any:
        """Return its data, as a payload that was published."""
        return json.loads(self.data)


class SSEReader:
    """
    Interpret an event stream that comes in pieces of any size. Does no I/O.

    Beside the events it keeps what a page never sees: `comments`, `retry_ms` (None until the
    stream sets it), `last_event_id` (what a reconnect would send) and `ignored`, the lines
    that a reader drops by the standard: a good server sends none.
    """

    # See: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation

    def __init__(self, last_event_id: str = "") -> None:
        """`last_event_id` is what an earlier connection of the same client ended with."""
        self.last_event_id = last_event_id
        self.retry_ms: int | None = None
        self.comments: list[str] = []
        self.ignored: list[str] = []
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._line = ""
        self._after_cr = False
        self._type = ""
        self._data: list[str] = []
        self._id = last_event_id

    def feed(self, piece: bytes) -> list[Event]:
        """Return the events that this piece completes. Never waits, never raises."""
        text = self._decoder.decode(piece)
        if self._after_cr and text:
            text = text.removeprefix("\n")
            self._after_cr = False
        if text:
            self._after_cr = text.endswith("\r")
        # Not splitlines(): it also splits at VT, FF, U+0085, U+2028 and others.
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        lines[0] = self._line + lines[0]
        self._line = lines.pop()
        events = [self._process(line) for line in lines]
        return [event for event in events if event is not None]

    def _process(self, line: str) -> Event | None:
        if not line:
            return self._dispatch()
        if line.startswith(":"):
            self.comments.append(line[1:])
            return None
        field, _, value = line.partition(":")
        self._set(field, value.removeprefix(" "), line)
        return None

    def _set(self, field: str, value: str, line: str) -> None:
        if field == "event":
            self._type = value
        elif field == "data":
            self._data.append(value)
        elif field == "id" and "\0" not in value:
            self._id = value
        elif field == "retry" and value.isascii() and value.isdigit():
            self.retry_ms = int(value)
        else:
            self.ignored.append(line)

    def _dispatch(self) -> Event | None:
        self.last_event_id = self._id
        data, kind = self._data, self._type
        self._data, self._type = [], ""
        # By the standard an event needs a data buffer that is not empty. A line "data:" alone
        # fills it with the LF that is stripped afterwards, so it makes an event.
        return Event(kind or "message", "\n".join(data), self._id) if data else None
