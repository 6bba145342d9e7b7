"""
Passing on what others encode: the events of Pydantic AI, of LangGraph, of AG-UI's EventEncoder.

    async with runs.aproduce(run) as out:
        await arelay(out, adapter.encode_stream(adapter.run_stream()))
"""

from __future__ import annotations

import json
from codecs import getincrementaldecoder
from collections.abc import AsyncIterable, Iterable, Iterator
from typing import Any

from eric_sse_django.runs.producer import AsyncOut, Out

# Events that open a part of text, and those that add to it: with the field of its id.
OPENS = {"text-start": "id", "TEXT_MESSAGE_START": "messageId"}
ADDS = {"text-delta": "id", "TEXT_MESSAGE_CONTENT": "messageId"}


def relay(out: Out, frames: Iterable[str | bytes]) -> None:
    """
    Write the events of an event stream of JSON ("data: {…}") to a run.

    A text is written as text, so that all doors show it, if it belongs to the part that was
    opened last.
    """
    writer = _Relay(out)
    for frame in frames:
        writer.feed(frame)


async def arelay(out: AsyncOut, frames: AsyncIterable[str | bytes]) -> None:
    """As relay(), in a coroutine."""
    writer = _Relay(out)
    async for frame in frames:
        writer.feed(frame)
        await out.drain()


class _Relay:
    def __init__(self, out: Out) -> None:
        self._out = out
        self._rest = ""
        self._decode = getincrementaldecoder("utf-8")().decode
        self._text: Any = None  # the id of the part of text that was opened last

    def feed(self, frame: str | bytes) -> None:
        self._rest += self._decode(frame) if isinstance(frame, bytes) else frame
        *blocks, self._rest = self._rest.replace("\r\n", "\n").split("\n\n")
        for value in _values(blocks):
            self._write(value)

    def _write(self, value: Any) -> None:
        kind = value.get("type") if isinstance(value, dict) else None
        if kind in OPENS:
            self._text = value.get(OPENS[kind])
        field = ADDS.get(str(kind))
        # Only without other fields, which would be lost.
        is_plain = field and value.keys() - {"timestamp"} == {"type", field, "delta"}
        if is_plain and value[field] == self._text:
            self._out.write(value["delta"])
        else:
            self._out.send(value)


def _values(blocks: Iterable[str]) -> Iterator[Any]:
    """Yield the JSON values of blocks of lines, without the `[DONE]` of the AI SDK."""
    for block in blocks:
        lines = [line[5:].lstrip(" ") for line in block.split("\n") if line.startswith("data:")]
        text = "\n".join(lines)
        if text and text != "[DONE]":
            yield json.loads(text)
