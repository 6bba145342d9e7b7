"""Instruments: called around each publishing and after each delivery, and free while unused."""

import contextlib

import pytest

from eric_sse_django import instruments
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.exception import InvalidListenerException, InvalidMessageFormat
from eric_sse_django.message import Message
from eric_sse_django.shortcuts import publish
from eric_sse_django.streaming.sender import ObservedSender, Sender, sender_class
from tests.databases import sqlite_only
from tests.streams.reading import Reader


@pytest.fixture
def around():
    """Return the steps of publishing, and a list of those that fail."""
    steps = []

    @contextlib.contextmanager
    def make(publication):
        steps.append(("begins", [m.type for m in publication.messages], publication.listener_id))
        try:
            yield
        except Exception as error:
            steps.append(("fails", type(error).__name__))
            raise
        steps.append(("ends",))

    undo = instruments.around_publishing(make)
    yield steps
    undo()


@pytest.fixture
def delivered():
    """Return what was delivered: (payloads, listeners)."""
    found = []

    def call(delivery):
        found.append(([entry.payload for entry in delivery.entries], list(delivery.listeners)))

    undo = instruments.on_delivered(call)
    yield found
    undo()


@sqlite_only
def test_each_way_to_publish_is_wrapped_once(database, around):
    channel = DatabaseChannel.create("orders")
    listener = channel.add_listener(listener_id="till-7")
    publish("orders", "a")
    publish("orders", "b", listener_id="till-7")
    channel.broadcast(Message("c"))
    channel.dispatch("till-7", Message("d"))
    channel.broadcast_many([Message("e"), Message("f")])
    begun = [step[1:] for step in around if step[0] == "begins"]
    assert begun == [
        (["a"], None),
        (["b"], "till-7"),
        (["c"], None),
        (["d"], "till-7"),
        (["e", "f"], None),
    ]
    around.clear()
    listener.start()
    listener.stop()  # a control message
    assert around == []


@sqlite_only
def test_a_failing_insert_ends_it_with_the_error(database, around, monkeypatch):
    DatabaseChannel.create("orders")
    with pytest.raises(InvalidListenerException):
        publish("orders", "paid", listener_id="unknown")
    assert around[-1] == ("fails", "InvalidListenerException")
    around.clear()
    with pytest.raises(InvalidMessageFormat):
        publish("orders", "paid", object())
    assert around == []  # it was refused before


@sqlite_only
def test_what_it_raises_is_logged_and_the_message_is_published(database, caplog):
    found = DatabaseChannel.create("orders")
    listener = found.add_listener()
    listener.start()

    @contextlib.contextmanager
    def fails_at_the_end(publication):
        yield
        raise RuntimeError("at the end")

    def fails_at_once(publication):
        raise RuntimeError("at once")

    undo = [instruments.around_publishing(make) for make in (fails_at_once, fails_at_the_end)]
    publish("orders", "paid", 7)
    for each in undo:
        each()
    assert found.deliver_next(listener.id).payload == 7
    assert "at the end" in caplog.text
    assert "at once" in caplog.text


@pytest.mark.parametrize("at_once", [True, False])
async def test_each_delivery_to_each_stream_is_noted(site, delivered, monkeypatch, at_once):
    monkeypatch.setattr(Reader, "writes_at_once", at_once)
    listener = await site.listener()
    await site.publish(1, 2)
    first = await site.read(listener)
    await first.count(2)
    second = await site.read()
    await site.publish(3)
    await first.count(3)
    await second.count(1)
    await site.control(listener, "eric-close")
    await first.ended()
    assert [found for found in delivered if found[1] == [listener.pk]] in (
        [(["1", "2"], [listener.pk]), (["3"], [listener.pk])],
        [(["1"], [listener.pk]), (["2"], [listener.pk]), (["3"], [listener.pk])],
    )
    assert [found for found in delivered if found[1] == [None]] == [(["3"], [None])]


async def test_a_message_without_an_event_is_not_noted_as_delivered(site, delivered, monkeypatch):
    def encode(entry):
        if entry.payload == "2":
            raise ValueError("it has no event")
        return entry.payload.encode() + b"\n\n"

    monkeypatch.setattr(site.channel, "encode", encode)
    await site.publish(1, 2, 3)
    listener = await site.listener()
    await site.publish(1, 2, 3)
    reader = await site.read(listener)
    await reader.ended()
    assert [payloads for payloads, _ in delivered] == [["1"]]


@sqlite_only
async def test_a_call_that_fails_affects_no_stream(site, database, caplog):
    undo = instruments.on_delivered(lambda delivery: 1 / 0)
    reader = await site.read()
    await site.publish(1, 2)
    await reader.count(2)
    undo()
    assert "ZeroDivisionError" in caplog.text
    assert reader.stream.reason is None


def test_without_instruments_nothing_is_called():
    """So it costs one comparison for each publishing, and one for each stream that opens."""
    assert instruments.makers == ()
    assert instruments.calls == ()
    assert sender_class() is Sender
    undo = instruments.on_delivered(print)
    assert sender_class() is ObservedSender
    undo()
    undo()
    assert sender_class() is Sender
