"""
The plain door: `GET <prefix>runs/<id>/?index=<n>`, for EventSource.

First `run`, its state; then the messages as the log has them: `run-chunk` from the index on,
`run-progress`, and the end, `run-finished`, `run-failed` or `run-stopped`. A client that
reconnects with the id of the end gets 204. After `run-lost` another producer may continue.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from eric_sse_django.consumers.request import StreamRequest
from eric_sse_django.entry import Entry
from eric_sse_django.runs import chunks
from eric_sse_django.runs.doors.door import FINAL_ENDS, Door, end_of, number_in
from eric_sse_django.runs.models import Run
from eric_sse_django.wire import channel_encoder, encode, encode_all

_encode = channel_encoder(False)


class Plain(Door):
    """Sends what the log has."""

    reconnects = True
    is_cut = False

    def __init__(self, run: Run, request: StreamRequest | None = None) -> None:
        super().__init__(run, request)
        self._index = max(0, number_in(request, "index") or 0)

    def opening(self) -> bytes:
        state = encode("run", json.dumps(state_of(self.run), separators=(",", ":")))
        if not self.is_gone:
            return state
        self.over_at = 0
        type, payload = end_of(self.run)
        return state + encode(type, json.dumps(payload))

    def encode(self, entry: Entry) -> bytes:
        if self._is_old(entry):
            return b""
        if self._index and entry.type == chunks.CHUNK:
            payload = _from(entry.payload, self._index)
            if payload is None:
                return b""
            if payload is not entry.payload:
                return encode(entry.type, payload, entry.position)
        return _encode(entry)

    def joined(self, entries: Sequence[Entry]) -> bytes:
        if self._index:
            return super().joined(entries)
        for entry in entries:
            if entry.type in FINAL_ENDS:
                self.over_at = entry.position
        return encode_all([entry for entry in entries if not self._is_old(entry)])

    def _is_old(self, entry: Entry) -> bool:
        """Return whether the state has a later progress: a bar would go back."""
        return entry.type == chunks.PROGRESS and entry.position <= self.read_at


def state_of(run: Run) -> dict[str, Any]:
    """Return a run's state as clients get it."""
    state: dict[str, Any] = {
        "id": run.id,
        "kind": run.kind,
        "title": run.title,
        "status": run.status,
        "index": run.next_index,
        "progress": run.progress,
        "created": run.created_at.isoformat(),
    }
    if run.status == Run.Status.FINISHED.value:
        state["result"] = run.result
    return state


def _from(payload: str, first: int) -> str | None:
    """Return a message's payload from the chunk `first` on; None if it has none of those."""
    found = list(chunks.stored(payload))
    left = [chunk for chunk in found if chunk.index >= first]
    if not left or len(left) == len(found):
        return payload if left else None
    group = chunks.Group(left[0].index, left[0].is_text)
    for chunk in left:
        group.add(chunk.value if chunk.is_text else json.dumps(chunk.value, separators=(",", ":")))
    return group.payload()
