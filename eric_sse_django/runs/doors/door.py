"""A door: how one client's stream of a run begins, what it writes for each entry, its end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar

from django.utils import timezone

from eric_sse_django.consumers.request import StreamRequest
from eric_sse_django.entry import Entry
from eric_sse_django.runs.chunks import ENDS, FAILED, FINISHED, LOST, STOPPED
from eric_sse_django.runs.ends import FAILED_TEXT
from eric_sse_django.runs.models import Run

# json.dumps() with options makes an encoder for each call: that takes three times as long.
_encode = json.JSONEncoder(separators=(",", ":")).encode

# What ends a stream. After a lost end a run may be continued.
FINAL_ENDS = ENDS - {LOST}
# Seconds for which clients wait for another producer of a lost run, as the retry of a task queue.
LOST_WAIT_S = 15.0

Headers = Sequence[tuple[bytes, bytes]]


class Door:
    """
    One stream of a run: the consumer calls it with each entry, for its bytes.

    It returns the same bytes when it is called with the same entry again. `over_at` is the
    position of the entry that ends the stream, None before. `lost` is the last entry, if that is
    the end of a run that was lost and the client gets none: another producer may continue it.
    """

    # Of the response, besides those of every stream.
    headers: Headers = ()
    # Whether its client reconnects by itself, and how: with Last-Event-ID. Any other client is
    # shown that its stream is not complete by a connection that is cut.
    reconnects: ClassVar[bool] = False
    # Whether an incomplete stream is cut; else it ends in order, and the client finds out.
    is_cut: ClassVar[bool] = True
    # Whether prepare() is called, on a thread, before the stream begins.
    prepares = False

    def __init__(self, run: Run, request: StreamRequest | None = None) -> None:
        """The request may be read only here: what it has is dropped once the stream is open."""
        self.run = run
        self.over_at: int | None = None
        self.lost: Entry | None = None
        # Whether the log no longer has the run's end.
        self.is_gone = False
        # What is at an earlier position was written before the run's row was read.
        self.read_at = 0
        # Up to which position a lost end is old: the run was not lost any more.
        self.continued_at = 0

    def prepare(self) -> None:
        """Query what the opening needs."""

    def opening(self) -> bytes:
        """Return what comes before all entries."""
        return b""

    def encode(self, entry: Entry) -> bytes:
        """Return an entry's bytes, none if the client does not get it."""
        raise NotImplementedError

    def last(self) -> bytes:
        """Return what comes at the end of the stream, when it is over."""
        return b""

    def __call__(self, entry: Entry) -> bytes:
        if entry.type in FINAL_ENDS:
            self.over_at = entry.position
        return self.encode(entry)

    def joined(self, entries: Sequence[Entry]) -> bytes:
        """Return the bytes of several entries, as calls with each do."""
        return b"".join(map(self, entries))


def is_open(run: Run) -> bool:
    """Return whether a run has a producer, waits for one, or was lost a short time ago."""
    return run.is_active or lost_wait_s(run) > 0


def lost_wait_s(run: Run) -> float:
    """Return the seconds for which clients still wait for another producer of a lost run."""
    if run.status != Run.Status.LOST.value or run.ended_at is None:
        return 0.0
    return max(0.0, LOST_WAIT_S - (timezone.now() - run.ended_at).total_seconds())


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
