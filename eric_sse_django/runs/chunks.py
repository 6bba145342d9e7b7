"""
How output is stored: chunks, and the messages that hold several.

A run's chunks are numbered from 0: each write() of text and each send() of a value is one. A
message holds chunks of one kind that follow each other: texts as one, with their lengths where
there are several, and values as a list. No I/O.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from eric_sse_django.entry import Entry

# Types of a run's messages.
CHUNK = "run-chunk"
PROGRESS = "run-progress"
FINISHED = "run-finished"
FAILED = "run-failed"
STOPPED = "run-stopped"
LOST = "run-lost"
# After these a stream of the run ends; after a lost one it may continue.
ENDS = frozenset({FINISHED, FAILED, STOPPED, LOST})

# Characters of one text chunk at most; longer texts are several. Its JSON has up to 12 bytes for
# one of them.
TEXT_CHARACTERS = 16_384
# How text_payload() begins.
_TEXT = re.compile(r'{"i":(\d+),"n":(\d+),"text":')


@dataclass(slots=True)
class Chunk:
    """One write of a producer: its index in the run, and its text or its JSON value."""

    index: int
    value: Any
    is_text: bool


class Group:
    """Chunks of one kind that become one message: texts, or the JSON texts of values."""

    __slots__ = ("first", "is_text", "parts", "size")

    def __init__(self, first: int, is_text: bool) -> None:
        self.first, self.is_text = first, is_text
        self.parts: list[str] = []
        self.size = 0

    def add(self, part: str) -> None:
        self.parts.append(part)
        self.size += len(part)

    def payload(self) -> str:
        """Return the message's payload, as one line of ASCII JSON."""
        if self.is_text:
            return text_payload(self.first, self.parts)
        return f'{{"i":{self.first},"data":[{",".join(self.parts)}]}}'


def text_payload(first: int, texts: Sequence[str]) -> str:
    """
    Return the payload of text chunks: `i` is the first one's index, `n` how many they are.

    `l` has their lengths in characters, if there are several: a client may begin between them.
    """
    text = json.dumps("".join(texts))
    if len(texts) == 1:
        return f'{{"i":{first},"n":1,"text":{text}}}'
    lengths = ",".join([str(len(each)) for each in texts])
    return f'{{"i":{first},"n":{len(texts)},"text":{text},"l":[{lengths}]}}'


def chunks_of(entry: Entry) -> list[Chunk]:
    """Return the chunks of an entry of a run's log: none if it is of another type."""
    return list(stored(entry.payload)) if entry.type == CHUNK else []


def stored(payload: str) -> Iterator[Chunk]:
    """Yield the chunks of a message's payload."""
    found = json.loads(payload)
    first: int = found["i"]
    if "data" in found:
        for index, value in enumerate(found["data"], start=first):
            yield Chunk(index, value, False)
        return
    text: str = found["text"]
    ends = list(accumulate(found.get("l") or [len(text)]))
    begins = [0, *ends]
    for index, (begin, end) in enumerate(zip(begins, ends, strict=False), start=first):
        yield Chunk(index, text[begin:end], True)


def text_in(payload: str) -> tuple[int, int, str] | None:
    """
    Return the first index, the number and the text of text chunks; None for values.

    The text is JSON, as it is stored: to parse and to write it again took most of the time of a
    stream that begins with 2,500 messages.
    """
    found = _TEXT.match(payload)
    if found is None:
        return None
    count = int(found[2])
    end = len(payload) - 1 if count == 1 else payload.rindex(',"l":[')
    return int(found[1]), count, payload[found.end() : end]


def pieces(text: str) -> Sequence[str]:
    """Return a text as chunks of TEXT_CHARACTERS at most; none of an empty one."""
    if 0 < len(text) <= TEXT_CHARACTERS:
        return (text,)
    return [
        text[first : first + TEXT_CHARACTERS] for first in range(0, len(text), TEXT_CHARACTERS)
    ]
