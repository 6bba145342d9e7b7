"""OpenTelemetry: spans of publishing and of deliveries, with links between them."""

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from eric_sse_django.contrib.opentelemetry import install, link_of
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.exception import InvalidListenerException
from eric_sse_django.message import Message, UniqueMessage
from eric_sse_django.shortcuts import apublish, publish
from tests.databases import sqlite_only
from tests.streams.reading import Site

pytestmark = sqlite_only


class Traces:
    def __init__(self, **options):
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(**options)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("shop")

    def of(self, name):
        return [span for span in self.exporter.get_finished_spans() if span.name == name]


@pytest.fixture
def traces():
    traces = Traces()
    uninstall = install(traces.provider)
    yield traces
    uninstall()
    traces.provider.shutdown()


def test_publishing_is_a_span_of_the_trace_that_publishes(channel, traces):
    with traces.tracer.start_as_current_span("request") as request:
        publish("orders", "paid", "secret payload")
    [span] = traces.of("eric publish")
    assert span.kind is SpanKind.PRODUCER
    assert span.parent.span_id == request.get_span_context().span_id
    assert span.attributes["messaging.destination.name"] == "orders"
    assert span.attributes["messaging.batch.message_count"] == 1
    assert "secret" not in span.to_json()


def test_what_fails_is_a_span_with_the_error(channel, traces):
    with pytest.raises(InvalidListenerException):
        publish("orders", "paid", listener_id="unknown")
    [span] = traces.of("eric publish")
    assert span.status.status_code is StatusCode.ERROR


def test_a_program_links_to_the_span_that_published_its_message(channel, listener, traces):
    channel.broadcast_many([Message("a"), Message("b")])
    [span] = traces.of("eric publish")
    first, second = (channel.deliver_next(listener.id) for _ in range(2))
    assert first.id != second.id
    for message in (first, second):
        context = link_of(message).context
        assert (context.trace_id, context.span_id) == (
            span.context.trace_id,
            span.context.span_id,
        )
        assert context.is_remote


def test_an_id_that_is_given_stays_and_has_no_link(channel, listener, traces):
    channel.broadcast(UniqueMessage(Message("paid"), None, "order-7"))
    message = channel.deliver_next(listener.id)
    assert message.id == "order-7"
    assert link_of(message) is None
    assert link_of(Message("paid")) is None


def test_what_is_not_sampled_changes_no_message(channel, listener):
    traces = Traces(sampler=ALWAYS_OFF)
    uninstall = install(traces.provider)
    publish("orders", "paid")
    uninstall()
    assert not hasattr(channel.deliver_next(listener.id), "id")


async def test_a_delivery_is_a_trace_with_a_link_to_the_publishing(database, traces):
    site = Site(await DatabaseChannel.acreate("orders"))
    listener = await site.listener()
    reader = await site.read(listener)
    await apublish("orders", "paid", 7)
    await reader.count(1)
    await site.close()
    [published], [delivered] = traces.of("eric publish"), traces.of("eric deliver")
    assert delivered.kind is SpanKind.CONSUMER
    assert delivered.parent is None
    [link] = delivered.links
    assert link.context.trace_id == published.context.trace_id
    assert link.context.span_id == published.context.span_id
    assert delivered.context.trace_id != published.context.trace_id
    assert delivered.start_time <= delivered.end_time
    assert delivered.attributes["eric_sse.position"] == reader.ids[0]


async def test_deliveries_can_be_left_out(database):
    traces = Traces()
    uninstall = install(traces.provider, deliveries=False)
    site = Site(await DatabaseChannel.acreate("orders"))
    reader = await site.read()
    await apublish("orders", "paid", 7)
    await reader.count(1)
    await site.close()
    uninstall()
    assert len(traces.of("eric publish")) == 1
    assert traces.of("eric deliver") == []
