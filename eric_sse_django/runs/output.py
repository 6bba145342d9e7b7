"""What a producer has written to its run: numbered, and kept until it is committed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from eric_sse_django.exception import EricError
from eric_sse_django.log import Draft
from eric_sse_django.runs import storable
from eric_sse_django.runs.chunks import CHUNK, PROGRESS, TEXT_CHARACTERS, Group
from eric_sse_django.runs.ends import FAILED_TEXT, failed, full_text
from eric_sse_django.runs.exceptions import RunEnded, RunStopped, RunTaken
from eric_sse_django.runs.fence import LOST, RUNNING, Answer, Flush, State, Verdict
from eric_sse_django.runs.models import Run

# Seconds between two progress messages: more would be rows that nobody sees.
PROGRESS_S = 0.2
# Seconds for which a progress message is delivered: the run's row has the last one.
PROGRESS_LIVES_S = 60.0


@dataclass(frozen=True)
class Held:
    """A run whose lease a producer has: its keys, its epoch, and how its messages are kept."""

    run: int
    run_id: str
    channel: int
    epoch: int
    next_index: int
    kept_s: float
    perishable: bool
    stops: bool = False
    is_repeated: bool = False
    upstream: Any = None

    def draft(self, type: str, payload: str) -> Draft:
        """Return the draft of a message of the run."""
        return Draft(self.channel, self.kept_s, self.perishable, type, payload, self.run)


class Output:
    """
    The chunks, the progress and the end of one run that are not committed yet.

    `error` is what the producer raises at its next write: the run was taken or stopped. Without
    locks: its writer has one.
    """

    def __init__(self, held: Held) -> None:
        self.held = held
        self.run = held.run
        self.index = held.next_index  # of the next chunk
        self.error: Exception | None = None
        self.stopping = held.stops
        self.is_over = False  # its end is committed, or it may write nothing more
        self.seen_at = time.monotonic()
        self.on_change: Callable[[], object] | None = None
        self.size = 0  # characters that are not committed
        self.committed = held.next_index  # the index after what is committed
        self._first = held.next_index  # of what is not taken
        self._groups: list[Group] = []
        self._upstream: str | None = None
        self._progress: str | None = None  # as JSON
        self._progress_at = float("-inf")
        self._end: tuple[str, str, dict[str, Any]] | None = None
        self._sending: Flush | None = None
        # Columns of the run's row as they were written last, and its end: see copy_to().
        self._shown: str | None = None
        self._written: Flush | None = None
        self._ends = False  # with what is sent
        self._is_refused = False
        self._sent = 0  # characters of it

    def add(self, part: str, is_text: bool) -> None:
        """Add a chunk: a text, or a value's JSON text."""
        groups = self._groups
        group = groups[-1] if groups else None
        if (
            group is None
            or group.is_text is not is_text
            or group.size + len(part) > TEXT_CHARACTERS
        ):
            group = Group(self.index, is_text)
            groups.append(group)
        group.add(part)
        self.index += 1
        self.size += len(part)

    @property
    def is_new(self) -> bool:
        """Whether it has no chunk yet: the first is written at once."""
        return self.index == self.held.next_index

    def set_upstream(self, upstream: Any) -> None:
        """Write with the next flush what the chunks so far are made from."""
        self._upstream = storable.encode(upstream)

    def set_progress(self, progress: dict[str, Any]) -> None:
        """Replace the progress that waits."""
        self._progress = storable.encode(progress)

    def set_end(self, type: str, payload: str, values: dict[str, Any]) -> None:
        """End the run with this message, and these columns."""
        self._end = type, payload, values

    @property
    def has_end(self) -> bool:
        """Whether its end is written, or waits to be."""
        return self.is_over or self._end is not None

    @property
    def waits(self) -> bool:
        """Whether it has something that can be written now."""
        if self.is_over:
            return False
        is_some = self._groups or self._sending or self._end or self._upstream is not None
        return bool(is_some) or self._may_show_progress()

    def _may_show_progress(self) -> bool:
        if self._progress is None:
            return False
        return self._end is not None or time.monotonic() - self._progress_at >= PROGRESS_S

    def has_written(self, index: int) -> bool:
        """Return whether all before an index is committed, and the end that it may have."""
        return self.is_over or (self.committed >= index and self._end is None)

    def take(self) -> Flush:
        """Return what must be written: the same again until that has an answer."""
        if self._sending is None:
            self._sending, self._sent = self._flush(), self.size
        return self._sending

    def _flush(self) -> Flush:
        held = self.held
        made = Flush(held.run, held.epoch, self._first, self.index)
        made.drafts = [held.draft(CHUNK, group.payload()) for group in self._groups]
        if self._progress is not None and self._may_show_progress():
            made.progress = self._shown = self._progress
            shown = held.draft(PROGRESS, made.progress)
            if shown.kept_s > PROGRESS_LIVES_S:
                shown.kept_s, shown.perishable = PROGRESS_LIVES_S, True
            made.drafts.append(shown)
            self._progress, self._progress_at = None, time.monotonic()
        made.upstream, self._upstream = self._upstream, None
        if self._end is not None:
            type, payload, values = self._end
            if type:
                made.drafts.append(held.draft(type, payload))
            made.values |= values
            self._ends = True
        self._first, self._groups = self.index, []
        return made

    def answered(self, answer: Answer) -> bool:
        """Note what became of what was taken; return whether more must be written now."""
        self.seen_at = time.monotonic()
        if answer.verdict is Verdict.LATER:
            return True
        sent, self._sending = self._sending, None
        if answer.verdict is Verdict.REFUSED and not self._is_refused:
            self._refuse(answer.error)
            return True
        if not answer.verdict.is_written:
            self._close(self._error_of(answer.verdict, answer.status))
            return False
        if sent is not None:
            self.committed = sent.next
        self.size -= self._sent
        self._sent = 0
        if self._ends:
            self.is_over, self._written = True, sent
        if answer.stops:
            self._stop()
        self._changed()
        return self.waits

    def looked(self, state: State | None) -> None:
        """Note the state of the run, as it was read."""
        held = self.held
        if self.is_over or self._sending is not None or self._end is not None:
            return  # the flush finds it out
        if state is None:
            self._close(RunEnded(held.run_id, "removed"))
        elif state.epoch != held.epoch:
            self._close(RunTaken(held.run_id))
        elif state.status not in (RUNNING, LOST):  # the next flush ends the loss
            self._close(self._error_of(Verdict.ENDED, state.status))
        elif state.stops:
            self._stop()

    def copy_to(self, run: Run) -> bool:
        """Give a run's object the columns of its row after its end; False if they are unknown."""
        end = self._written
        if end is None or not end.is_usual:
            return False
        for name, value in end.values.items():
            setattr(run, name, value)
        run.result = json.loads(storable.encode(run.result))
        run.next_index = end.next
        run.stop_requested = run.stop_requested or self.stopping
        if self._shown is not None:
            run.progress = json.loads(self._shown)
        return True

    def _error_of(self, verdict: Verdict, status: str) -> EricError:
        run_id = self.held.run_id
        if verdict is Verdict.REMOVED:
            return RunEnded(run_id, "removed")
        if verdict is Verdict.TAKEN or status == Run.Status.LOST.value:
            return RunTaken(run_id)
        is_stopped = status == Run.Status.STOPPED.value
        return RunStopped(run_id) if is_stopped else RunEnded(run_id, status)

    def _stop(self) -> None:
        if not self.stopping:
            self.stopping = True
            self._changed()

    def _refuse(self, error: Exception | None) -> None:
        """Drop what the database cannot hold, and all after it: the run fails."""
        found = error or ValueError("refused")
        self._drop(found)
        self.index = self._first = self.committed
        self._is_refused, self._ends = True, False
        self.set_end(*failed(FAILED_TEXT, full_text(found)))
        self._changed()

    def _close(self, error: EricError) -> None:
        """Drop what waits: nothing can be written any more."""
        self._drop(error)
        self.is_over = True
        self._changed()

    def _drop(self, error: Exception) -> None:
        self.error, self.stopping = error, True
        self._groups, self._progress, self._end, self.size = [], None, None, 0
        self._upstream = None

    def _changed(self) -> None:
        if self.on_change is not None:
            self.on_change()
