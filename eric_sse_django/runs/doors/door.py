"""A door: how one client's stream of a run begins, what it writes for each entry, its end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar

from eric_sse_django.consumers.request import StreamRequest
from eric_sse_django.entry import Entry
from eric_sse_django.runs.chunks import ENDS, FAILED, FINISHED, LOST, STOPPED
from eric_sse_django.runs.ends import FAILED_TEXT
from eric_sse_django.runs.models import Run

# json.dumps() with options makes an encoder for each call: that takes three times as long.
_encode = json.JSONEncoder(separators=(",", ":")).encode

Headers = Sequence[tuple[bytes, bytes]]


class Door:
    """
    One stream of a run: the consumer calls it with each entry, for its bytes.

    It returns the same bytes when it is called with the same entry again. `over_at` is the
    position of the entry that ends the stream, None before. A `lost` end only ends it if nothing
    follows: another producer may have continued the run. It is sent at the end of the stream.
    """

    # Of the response, besides those of every stream.
    headers: Headers = ()
    # Whether its client reconnects by itself, and how: with Last-Event-ID. Any other client is
    # shown that its stream is not complete by a connection that is cut.
    reconnects: ClassVar[bool] = False
    # Whether an incomplete stream is cut; else it ends in order, and the client finds out.
    is_cut: ClassVar[bool] = True
    # Whether prepare() is called, on a thread, before the stream begins.
    prepares: ClassVar[bool] = False

    def __init__(self, run: Run, request: StreamRequest | None = None) -> None:
        """The request may be read only here: what it has is dropped once the stream is open."""
        self.run = run
        self.over_at: int | None = None
        self.lost: Entry | None = None
        # Whether the log no longer has the run's end.
        self.is_gone = False
        # Up to which position a lost end is old, as the run was not lost when it was read.
        self.continued_at = 0

    def prepare(self) -> None:
        """Query what the opening needs."""

    def opening(self) -> bytes:
        """Return what comes before all entries."""
        return b""

    def encode(self, entry: Entry) -> bytes:
        """Return an entry's bytes, none if the client does not get it."""
        raise NotImplementedError

    def __call__(self, entry: Entry) -> bytes:
        if entry.type == LOST:
            if entry.position > max(self.continued_at, self.over_at or 0):
                self.lost, self.over_at = entry, entry.position
            return b""
        if entry.type in ENDS:
            self.lost, self.over_at = None, entry.position
        elif self.lost is not None and entry.position > self.lost.position:
            self.lost = self.over_at = None
        return self.encode(entry)

    def last(self) -> bytes:
        """Return what comes at the end of the stream: the end of a run that is lost."""
        return b"" if self.lost is None else self.encode(self.lost)


def end_of(run: Run) -> tuple[str, dict[str, Any]]:
    """Return the type and payload of an ended run's last message, if the log has it no more."""
    if run.status == Run.Status.FINISHED.value:
        return FINISHED, {"result": run.result}
    if run.status == Run.Status.FAILED.value:
        return FAILED, {"error": FAILED_TEXT}
    return (STOPPED if run.status == Run.Status.STOPPED.value else LOST), {}


def number_in(request: StreamRequest | None, name: str) -> int | None:
    """Return the whole number in a query field, None without a usable one."""
    found = [] if request is None else request.query(name)
    text = found[-1].strip() if found else ""
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 19 else None


def frame(value: Any) -> bytes:
    """Return a JSON value as an event without a name."""
    return f"data: {_encode(value)}\n\n".encode()
