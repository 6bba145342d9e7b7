"""
Providers whose output can be resumed: what a killed worker's successor continues.

OpenAI's Responses with `background` are such: each event has a number, and a stream may begin
after any of them. The number of the last event is written with the chunks of that event, in one
transaction, so that no token is lost or doubled.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any

from eric_sse_django.runs.producer import AsyncOut, Out


def id_of_response(event: Any) -> str | None:
    """Return the id of the response that an event of OpenAI's Responses names, None for none."""
    found: str | None = getattr(getattr(event, "response", None), "id", None)
    return found


def number_of_event(event: Any) -> int:
    """Return the number of an event of OpenAI's Responses."""
    number: int = event.sequence_number
    return number


def resume_upstream(
    out: Out,
    begin: Callable[[], Iterable[Any]],
    resume: Callable[[str, int], Iterable[Any]],
    *,
    id_of: Callable[[Any], str | None] = id_of_response,
    number_of: Callable[[Any], int] = number_of_event,
) -> Iterator[Any]:
    """
    Yield a provider's events: those whose output the run does not have yet.

    `begin` starts the work and returns its events. `resume` returns those of a work after a
    number; it gets the id that an earlier event had. `id_of` and `number_of` find both in an
    event. What is written while an event is handled is written all together, or not at all.

        for event in runs.resume_upstream(
            out,
            lambda: client.responses.create(**request, background=True, stream=True),
            lambda id, number: client.responses.retrieve(id, stream=True, starting_after=number),
        ):
            if event.type == "response.output_text.delta":
                out.write(event.delta)
    """
    known = out.upstream
    upstream_id, seen = (None, -1) if known is None else (known["id"], known["number"])
    for event in begin() if upstream_id is None else resume(upstream_id, seen):
        number, upstream_id = number_of(event), id_of(event) or upstream_id
        if number <= seen:
            continue  # a provider that begins earlier than it was asked to
        with out.together({"id": upstream_id, "number": number}):
            yield event
        seen = number


async def aresume_upstream(
    out: AsyncOut,
    begin: Callable[[], Awaitable[AsyncIterable[Any]]],
    resume: Callable[[str, int], Awaitable[AsyncIterable[Any]]],
    *,
    id_of: Callable[[Any], str | None] = id_of_response,
    number_of: Callable[[Any], int] = number_of_event,
) -> AsyncIterator[Any]:
    """As resume_upstream(); `begin` and `resume` are awaited."""
    known = out.upstream
    upstream_id, seen = (None, -1) if known is None else (known["id"], known["number"])
    events = await (begin() if upstream_id is None else resume(upstream_id, seen))
    async for event in events:
        number, upstream_id = number_of(event), id_of(event) or upstream_id
        if number <= seen:
            continue
        with out.together({"id": upstream_id, "number": number}):
            yield event
        seen = number
