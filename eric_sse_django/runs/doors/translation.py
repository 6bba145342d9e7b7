"""
A door that turns chunks into the events of a client's protocol.

A producer may write such events themselves, as JSON values: they pass as they are. Text that it
writes is in the part of text that it opened last, or in one for all such text of the run. What the
protocol needs and the producer did not write is added: the begin, the end of parts that are open,
the end.

An entry may be encoded more than once, so all that is remembered is of the run, by the indexes
of its chunks, and not of what was sent.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

from eric_sse_django.consumers.request import StreamRequest
from eric_sse_django.entry import Entry
from eric_sse_django.runs.chunks import CHUNK, ENDS, LOST, PROGRESS, Chunk, chunks_of, text_in
from eric_sse_django.runs.doors.door import Door, end_of, frame
from eric_sse_django.runs.models import Run

Event = dict[str, Any]
# What an event opens or closes: a kind of part, and its id.
Part = tuple[str, str]


class Translation(Door):
    """
    The events of a run. They are numbered from 0; `skip` is how many the client has.

    `joins` is whether several texts of a message become one event, which then has one number.
    """

    joins: ClassVar[bool] = True

    def __init__(self, run: Run, request: StreamRequest | None = None, skip: int = 0) -> None:
        super().__init__(run, request)
        self.skip = skip
        # Indexes of chunks: of the first one, of the first text in no part that the producer
        # opened, and of the next one.
        self._first: int | None = None
        self._text: int | None = None
        self._next = 0
        self._has_begin = False  # whether the first chunk is the protocol's begin
        self._finish: int | None = None  # the index of the protocol's end
        # Where the producer opened and closed parts.
        self._marks: dict[int, tuple[Part, bool]] = {}
        self._heads: dict[str, str] = {}  # what is before the text, by the part's id
        self._marked = -1  # the last of these indexes
        self._open_now: dict[Part, None] = {}  # the parts that are open after it

    # The protocol ---------------------------------------------------------------------

    def is_begin(self, event: Event) -> bool:
        """Return whether the protocol begins with the event."""
        raise NotImplementedError

    def is_end(self, event: Event) -> bool:
        """Return whether the protocol ends with the event."""
        raise NotImplementedError

    def begin(self) -> Event:
        """Return the event that the protocol begins with."""
        raise NotImplementedError

    def adapt(self, value: Any) -> Event:
        """Return the event of a JSON value: the value itself, if it is one."""
        raise NotImplementedError

    def open_text(self) -> Event:
        """Return the event that opens the part of text that the producer opened none for."""
        raise NotImplementedError

    def text(self, text: str, part_id: str) -> Event:
        """Return the event of a text in a part."""
        raise NotImplementedError

    def part(self, event: Event) -> tuple[Part, bool] | None:
        """Return the part that an event opens (True) or closes, None for any other event."""
        raise NotImplementedError

    def close(self, part: Part) -> Event:
        """Return the event that closes a part."""
        raise NotImplementedError

    def end(self, type: str, payload: Event) -> Sequence[Event]:
        """Return the events of a run's end: `type` is that of the log's message."""
        raise NotImplementedError

    def progress(self, payload: Event) -> Event | None:
        """Return the event of the run's progress, None for none. It has no number."""
        return None

    def farewell(self) -> bytes:
        """Return the last bytes, after all events."""
        return b""

    # What is sent ---------------------------------------------------------------------

    def __call__(self, entry: Entry) -> bytes:
        if entry.type == LOST:
            if entry.position > self.continued_at:
                self.lost = entry
            return b""
        if self.lost is not None and entry.position > self.lost.position:
            self.lost = None
        return super().__call__(entry)

    def last(self) -> bytes:
        return b"" if self.lost is None else self.encode(self.lost)

    def opening(self) -> bytes:
        if not self.is_gone:
            return b""
        self.over_at = 0
        return self._end(*end_of(self.run))

    def encode(self, entry: Entry) -> bytes:
        if entry.type == CHUNK:
            texts = text_in(entry.payload) if self.joins else None
            if texts is None:
                return b"".join(map(frame, self.of_chunks(chunks_of(entry))))
            return self._of_texts(*texts)
        if entry.type in ENDS:
            return self._end(entry.type, json.loads(entry.payload))
        event = self.progress(json.loads(entry.payload)) if entry.type == PROGRESS else None
        return b"" if event is None else frame(event)

    def _of_texts(self, first: int, count: int, text: str) -> bytes:
        """Return the frames of several texts, as one: `text` is JSON."""
        is_new = self._first is None or first <= self._first
        part = self._text_part_at(first)
        is_opened = part is not None or (self._text is not None and first > self._text)
        if is_new or self.skip or not is_opened:
            chunk = Chunk(first, json.loads(text), True)
            return b"".join(map(frame, self._of_chunk(chunk, first + count)))
        self._next = max(self._next, first + count)
        part_id = (part or self.text_part())[1]
        head = self._heads.get(part_id)
        if head is None:
            # The text is the last value of its event.
            head = self._heads[part_id] = frame(self.text("", part_id)).decode()[: -len('""}\n\n')]
        return f"{head}{text}}}\n\n".encode()

    def _end(self, type: str, payload: Event) -> bytes:
        return b"".join(map(frame, self.of_end(type, payload))) + self.farewell()

    def of_chunks(self, chunks: Iterable[Chunk]) -> Iterator[Event]:
        """Yield the events of chunks that follow each other, without those to be skipped."""
        for chunk in chunks:
            yield from self._of_chunk(chunk, chunk.index + 1)

    def of_end(self, type: str, payload: Event) -> Iterator[Event]:
        """Yield the events of the run's end, without those to be skipped."""
        events = []
        if self._first is None:
            events.append(self.begin())
        if self._finish is None:
            events += [self.close(part) for part in self._open()]
            events += self.end(type, payload)
        number = self._number(self._next) if self._first is not None else 0
        yield from events[max(0, self.skip - number) :]

    def _of_chunk(self, chunk: Chunk, following: int) -> Sequence[Event]:
        """Return the events of a chunk, or of several texts: `following` is the next index."""
        index, self._next = chunk.index, max(self._next, following)
        is_first = self._first is None or index <= self._first
        if chunk.is_text:
            part = self._text_part_at(index)
            event = self.text(chunk.value, (part or self.text_part())[1])
            if part is None and (self._text is None or index < self._text):
                self._text = index
        else:
            event = self.adapt(chunk.value)
            self._note(index, event)
        if is_first:
            self._first, self._has_begin = index, not chunk.is_text and self.is_begin(event)
        elif index != self._text and not self.skip:
            return [event]  # nearly all
        events = [event]
        if index == self._text:
            events.insert(0, self.open_text())
        if is_first and not self._has_begin:
            events.insert(0, self.begin())
        return events[max(0, self.skip - self._number(index)) :]

    def _number(self, index: int) -> int:
        """Return the number of the first event of a chunk, or of the end."""
        begin = self._first is not None and index > self._first and not self._has_begin
        return index + begin + (self._text is not None and index > self._text)

    # What is remembered ----------------------------------------------------------------

    def _note(self, index: int, event: Event) -> None:
        if self.is_end(event):
            self._finish = index
        mark = self.part(event)
        if mark is None or index in self._marks:
            return
        self._marks[index] = mark
        if index > self._marked:
            self._marked = index
            _apply(mark, self._open_now)

    def _open_at(self, index: int) -> Iterable[Part]:
        """Return the parts that the producer has open before a chunk, the last one last."""
        if index > self._marked:
            return self._open_now
        found: dict[Part, None] = {}
        for at in sorted(self._marks):
            if at < index:
                _apply(self._marks[at], found)
        return found

    def _text_part_at(self, index: int) -> Part | None:
        if not self._marks:
            return None
        kind = self.text_part()[0]
        texts = [part for part in self._open_at(index) if part[0] == kind]
        return texts[-1] if texts else None

    def _open(self) -> list[Part]:
        """Return the parts that are open at the end, the one that was opened last first."""
        text = [] if self._text is None else [self.text_part()]
        return [*text, *reversed(list(self._open_now))]

    def text_part(self) -> Part:
        """Return the part of text that the producer opened none for."""
        raise NotImplementedError


def _apply(mark: tuple[Part, bool], parts: dict[Part, None]) -> None:
    """Open or close a part among those that are open."""
    part, is_opened = mark
    parts.pop(part, None)
    if is_opened:
        parts[part] = None
