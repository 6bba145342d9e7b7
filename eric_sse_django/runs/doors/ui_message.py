"""
Producing a message of the AI SDK: text, reasoning, tools, data and sources, in parts.

    with ui_message.produce(run) as out:
        for token in model.stream(prompt):
            out.text(token)
        out.tool_input("call-1", "search", {"query": "SSE"})
        out.tool_output("call-1", [])

Parts are opened and closed by what is written. A producer that continues a run that was lost
continues its parts. Other doors show the same run: its text is what was written by text().
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from eric_sse_django.runs import producer
from eric_sse_django.runs.chunks import Chunk
from eric_sse_django.runs.models import Run
from eric_sse_django.runs.producer import AsyncOut, Out
from eric_sse_django.runs.reading import aread, read

Value = dict[str, Any]


class Message:
    """What a producer writes a message to; `out` is what it writes to the run."""

    def __init__(self, out: Out, chunks: Iterable[Chunk] = ()) -> None:
        """`chunks` are those that an earlier producer of the run has written."""
        self.out = out
        # The kind and the id of the part that is open, the tools with a part of their input.
        self._open: tuple[str, str] | None = None
        self._tools = set[str]()
        for chunk in chunks:
            if not chunk.is_text and isinstance(chunk.value, dict):
                self._note(chunk.value)

    # Its parts --------------------------------------------------------------------------

    def text(self, text: str) -> None:
        """Write a text into the part of text that is open, or a new one."""
        self._begin("text")
        self.out.write(text)

    def reasoning(self, text: str) -> None:
        """Write a text into the part of reasoning that is open, or a new one."""
        part_id = self._begin("reasoning")
        self.send({"type": "reasoning-delta", "id": part_id, "delta": text})

    def tool_input_delta(self, call_id: str, tool: str, text: str) -> None:
        """Write a part of a tool's input, as JSON text."""
        if call_id not in self._tools:
            self._end_part()
            self.send({"type": "tool-input-start", "toolCallId": call_id, "toolName": tool})
        self.send({"type": "tool-input-delta", "toolCallId": call_id, "inputTextDelta": text})

    def tool_input(self, call_id: str, tool: str, input: Any, **more: Any) -> None:
        """Write the complete input of a tool. `more` are fields such as `title`."""
        self._end_part()
        chunk = {"type": "tool-input-available", "toolCallId": call_id, "toolName": tool}
        self.send({**chunk, "input": input, **more})

    def tool_output(self, call_id: str, output: Any, **more: Any) -> None:
        """Write what a tool returned. `more` are fields such as `preliminary`."""
        chunk = {"type": "tool-output-available", "toolCallId": call_id}
        self.send({**chunk, "output": output, **more})

    def tool_error(self, call_id: str, text: str) -> None:
        """Write why a tool failed."""
        self.send({"type": "tool-output-error", "toolCallId": call_id, "errorText": text})

    def data(
        self, name: str, value: Any, *, id: str | None = None, transient: bool = False
    ) -> None:
        """Write data of the project's own: what has the same name and `id` is replaced."""
        more: Value = {} if id is None else {"id": id}
        if transient:
            more["transient"] = True
        self.send({"type": f"data-{name}", **more, "data": value})

    def source(self, url: str, title: str = "", *, id: str = "") -> None:
        """Write the address of a source."""
        more = {"title": title} if title else {}
        self.send({"type": "source-url", "sourceId": id or url, "url": url, **more})

    def file(self, url: str, media_type: str) -> None:
        """Write the address of a file."""
        self.send({"type": "file", "url": url, "mediaType": media_type})

    def metadata(self, value: Any) -> None:
        """Write metadata of the message."""
        self.send({"type": "message-metadata", "messageMetadata": value})

    def start_step(self) -> None:
        """Begin a step: a call of the model, with the tools that it calls."""
        self._end_part()
        self.send({"type": "start-step"})

    def finish_step(self) -> None:
        """End a step."""
        self._end_part()
        self.send({"type": "finish-step"})

    # What it has of the run's -------------------------------------------------------------

    def send(self, chunk: Value) -> None:
        """Write a chunk of the protocol as it is."""
        self.out.send(chunk)
        self._note(chunk)

    def progress(
        self, done: float | None = None, total: float | None = None, text: str = ""
    ) -> None:
        """As Out.progress()."""
        self.out.progress(done, total, text)

    @property
    def stopping(self) -> bool:
        """As Out.stopping."""
        return self.out.stopping

    @property
    def result(self) -> Any:
        """As Out.result."""
        return self.out.result

    @result.setter
    def result(self, value: Any) -> None:
        self.out.result = value

    # Within -------------------------------------------------------------------------------

    def _begin(self, kind: str) -> str:
        """Return the id of the part of a kind that is open; open one if none is."""
        if self._open is None or self._open[0] != kind:
            self._end_part()
            # Unique, also if another producer continues the run.
            self.send({"type": f"{kind}-start", "id": f"{kind}-{self.out.index}"})
        assert self._open is not None
        return self._open[1]

    def _end_part(self) -> None:
        if self._open is not None:
            kind, part_id = self._open
            self.send({"type": f"{kind}-end", "id": part_id})

    def _note(self, chunk: Value) -> None:
        type = chunk.get("type")
        if type in ("text-start", "reasoning-start"):
            self._open = str(type).removesuffix("-start"), str(chunk.get("id"))
        elif type in ("text-end", "reasoning-end"):
            self._open = None
        elif type == "tool-input-start":
            self._tools.add(str(chunk.get("toolCallId")))


@contextmanager
def produce(run: Run) -> Iterator[Message]:
    """As runs.produce(), for a message."""
    with producer.produce(run) as out:
        yield Message(out, read(run) if out.index else ())


@asynccontextmanager
async def aproduce(run: Run) -> AsyncIterator[AsyncMessage]:
    """As runs.aproduce(), for a message."""
    async with producer.aproduce(run) as out:
        yield AsyncMessage(out, await aread(run) if out.index else ())


class AsyncMessage(Message):
    """As Message, for a coroutine: what writes is not awaited."""

    out: AsyncOut

    async def stopped(self) -> None:
        """As AsyncOut.stopped()."""
        await self.out.stopped()

    async def flush(self) -> None:
        """As AsyncOut.flush()."""
        await self.out.flush()
