"""
OpenTelemetry: a span for each publishing, one for each delivery to a stream, and links between.

    from eric_sse_django.contrib.opentelemetry import install

    class ShopConfig(AppConfig):
        def ready(self):
            install()

The span `eric publish` is part of the trace of the code that publishes. A delivery has its own
trace, with a link to that of each message, as OpenTelemetry's conventions for messaging have it:
one message may be delivered to many streams, hours later. To carry the span's context, a message
that has no id gets it as its id (`UniqueMessage.id`); a message with its own id has no link.
Spans contain ids and sizes, and never a payload.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags

from eric_sse_django import __version__, instruments
from eric_sse_django.contrib.naming import names_of
from eric_sse_django.instruments import Delivery, Publication

SYSTEM = "eric_sse"
# A message's id: a `traceparent` of https://www.w3.org/TR/trace-context/, and the message's number
# among those of its span.
ID = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-\d+)?")
NANOSECONDS = 1_000_000_000
# Links of one span: a stream that catches up may get thousands of messages at once.
MAX_LINKS = 100


def install(tracer_provider: Any = None, *, deliveries: bool = True) -> Callable[[], None]:
    """
    Trace what this process publishes and delivers, with the global provider by default.

    Without `deliveries` only publishing is traced: each delivery to each stream is a span, at
    20 microseconds of CPU. Returns a function that ends it.
    """
    tracer = trace.get_tracer("eric_sse_django", __version__, tracer_provider)
    undo = [instruments.around_publishing(lambda publication: _publishing(tracer, publication))]
    if deliveries:
        undo.append(instruments.on_delivered(lambda delivery: _delivered(tracer, delivery)))

    def uninstall() -> None:
        for each in undo:
            each()

    return uninstall


def link_of(message: Any) -> Link | None:
    """
    Return a link to the span that published a message, None if it is not known.

    For a program that reads a queue, as deliver_next() and message_stream() do:
    tracer.start_as_current_span("work", links=[link_of(message)]).
    """
    return _link(getattr(message, "id", None))


@contextmanager
def _publishing(tracer: Any, publication: Publication) -> Iterator[None]:
    messages = publication.messages
    channels = names_of(publication)
    name = next(iter(channels.values())) if len(channels) == 1 else None
    attributes: dict[str, Any] = {
        "messaging.system": SYSTEM,
        "messaging.operation.type": "send",
        "messaging.operation.name": "publish",
        "messaging.batch.message_count": len(messages),
        "messaging.message.body.size": sum(len(message.payload) for message in messages),
    }
    if name is not None:
        attributes["messaging.destination.name"] = name
    with tracer.start_as_current_span(
        "eric publish", kind=SpanKind.PRODUCER, attributes=attributes
    ) as span:
        context = span.get_span_context()
        if context.is_valid and context.trace_flags.sampled:
            _mark(messages, context)
        yield


def _mark(messages: Sequence[Any], context: SpanContext) -> None:
    """Give the messages without an id one that has the span's context, each its own."""
    parent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    for number, message in enumerate(messages):
        if message.uid is None:
            message.uid = f"{parent}-{number}" if number else parent


def _delivered(tracer: Any, delivery: Delivery) -> None:
    links = [link for entry in delivery.entries if (link := _link(entry.uid)) is not None]
    if not links:
        return
    published = delivery.entries[0].created_at
    span = tracer.start_span(
        "eric deliver",
        context=Context(),  # not that of whatever wakes the event loop
        kind=SpanKind.CONSUMER,
        links=links[:MAX_LINKS],
        start_time=None if published is None else int(published.timestamp() * NANOSECONDS),
        attributes={
            "messaging.system": SYSTEM,
            "messaging.operation.type": "process",
            "messaging.operation.name": "deliver",
            "messaging.batch.message_count": len(delivery.entries),
            "eric_sse.channel": delivery.entries[0].channel,
            "eric_sse.position": delivery.entries[-1].position,
        },
    )
    span.end()


def _link(uid: Any) -> Link | None:
    found = ID.fullmatch(uid) if isinstance(uid, str) else None
    if found is None:
        return None
    trace_id, span_id, flags = (int(each, 16) for each in found.groups())
    context = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
    return Link(context) if context.is_valid else None
