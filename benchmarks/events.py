"""Server-Sent Events, parsed by the rules of the HTML standard. Does no I/O."""

from __future__ import annotations

from typing import NamedTuple


class Event(NamedTuple):
    """One event: its fields as they were sent, "" for those without."""

    id: bytes
    type: bytes
    data: bytes


class EventParser:
    """Takes a stream in pieces of any size, gives its events. Comments give none."""

    def __init__(self) -> None:
        self._rest = b""
        self._ends_with_return = False  # a line feed after it would be of the same line's end

    def feed(self, piece: bytes) -> list[Event]:
        """Return the events that end with this piece."""
        if not piece:
            return []
        ends_line = self._ends_with_return and piece.startswith(b"\n")
        self._ends_with_return = piece.endswith(b"\r")
        if ends_line:
            piece = piece[1:]
        if b"\r" in piece:
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *blocks, self._rest = (self._rest + piece).split(b"\n\n")
        return [event for block in blocks if (event := _event(block)) is not None]


def _event(block: bytes) -> Event | None:
    """Return the event of the lines before an empty line; None without data."""
    id = type = b""
    data: list[bytes] = []
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        if value[:1] == b" ":
            value = value[1:]
        if name == b"data":
            data.append(value)
        elif name == b"id":
            id = value
        elif name == b"event":
            type = value
    return Event(id, type, b"\n".join(data)) if data else None
