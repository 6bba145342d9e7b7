"""
What every queue and every channel must do, wherever its messages are kept.

A test module imports QueueContract or ChannelContract, subclasses it with a name that
pytest collects, and has these fixtures in reach:

- `queue`: an empty queue; `channel`: a channel without listeners whose adapt() returns a
  dict with `event` and `data`;
- `call`: `await call(function, *args)` calls something synchronous out of a coroutine, the
  way this implementation needs it (at once in memory, in a thread where it does I/O).
"""

import asyncio
import random

import pytest

from eric_sse_django.exception import InvalidListenerException, NoMessagesException
from eric_sse_django.listener import MessageQueueListener
from eric_sse_django.message import Message

# Seconds after which a stream that should have answered counts as hanging.
PATIENCE_S = 5.0

JSON_VALUES = [
    None,
    True,
    0,
    -7,
    1.5,
    "",
    "two\nlines \u2028 ☃ \U0001f600",
    [],
    {},
    [1, [2, {"three": None}]],
    {"id": 7, "names": ["Zoë", "李"], "nested": {"deep": [True, False]}},
]


def count(number):
    return Message("count", number)


async def soon(awaitable):
    """Return what `awaitable` gives; fail when that takes longer than PATIENCE_S."""
    return await asyncio.wait_for(awaitable, PATIENCE_S)


async def take(stream, number):
    """Return the next `number` events of a stream as (type, payload)."""
    events = [await soon(anext(stream)) for _ in range(number)]
    return [(event["event"], event["data"]) for event in events]


async def rest(stream):
    """Return all events up to the end of the stream as (type, payload)."""

    async def collect():
        return [(event["event"], event["data"]) async for event in stream]

    return await soon(collect())


class Recorder(MessageQueueListener):
    """A listener that keeps what was delivered to it."""

    def __init__(self, listener_id=None):
        super().__init__(listener_id)
        self.received = []

    def on_message(self, msg):
        self.received.append(msg.payload)


class QueueContract:
    def test_pop_returns_messages_in_the_order_they_were_pushed(self, queue):
        for number in range(3):
            queue.push(count(number))
        assert [queue.pop().payload for _ in range(3)] == [0, 1, 2]

    def test_pop_of_an_empty_queue_raises(self, queue):
        with pytest.raises(NoMessagesException):
            queue.pop()

    def test_a_message_is_popped_once(self, queue):
        queue.push(count(1))
        queue.pop()
        with pytest.raises(NoMessagesException):
            queue.pop()

    @pytest.mark.parametrize("payload", JSON_VALUES, ids=repr)
    def test_a_message_is_popped_as_it_was_pushed(self, queue, payload):
        queue.push(Message("kind", payload))
        message = queue.pop()
        assert message.type == "kind"
        assert message.payload == payload
        assert type(message.payload) is type(payload)

    @pytest.mark.parametrize("seed", range(3))
    def test_any_interleaving_of_push_and_pop_keeps_the_order(self, queue, seed):
        chance = random.Random(seed)
        expected = []
        for number in range(30):
            if chance.random() < 0.5:
                queue.push(count(number))
                expected.append(number)
            elif expected:
                assert queue.pop().payload == expected.pop(0)
            else:
                with pytest.raises(NoMessagesException):
                    queue.pop()

    def test_watching_can_be_undone_twice(self, queue):
        undo = queue.watch(lambda: None)
        if undo is not None:
            undo()
            undo()

    async def test_apop_returns_messages_in_the_order_they_were_pushed(self, queue, call):
        for number in range(3):
            await call(queue.push, count(number))
        assert [(await soon(queue.apop())).payload for _ in range(3)] == [0, 1, 2]

    async def test_apop_of_an_empty_queue_raises(self, queue, call):
        with pytest.raises(NoMessagesException):
            await soon(queue.apop())


class RegistryContract:
    def test_an_added_listener_is_registered(self, channel):
        listener = channel.add_listener()
        assert channel.get_listener(listener.id).id == listener.id

    def test_added_listeners_differ(self, channel):
        assert channel.add_listener().id != channel.add_listener().id

    def test_an_added_listener_does_not_run_yet(self, channel):
        assert not channel.add_listener().is_running()

    def test_a_registered_listener_keeps_its_id(self, channel):
        channel.register_listener(MessageQueueListener("till-7"))
        assert channel.get_listener("till-7").id == "till-7"

    def test_a_listener_registered_again_keeps_its_messages(self, channel):
        listener = MessageQueueListener("till-7")
        channel.register_listener(listener)
        channel.dispatch("till-7", count(1))
        channel.register_listener(listener)
        listener.start()
        assert channel.deliver_next("till-7").payload == 1

    def test_connections_are_the_listeners_with_their_queues(self, channel):
        ids = {channel.add_listener().id, channel.add_listener().id}
        connections = list(channel.get_connections())
        assert {connection.listener.id for connection in connections} == ids
        channel.broadcast(count(1))
        assert [connection.queue.pop().payload for connection in connections] == [1, 1]

    def test_a_removed_listener_is_unknown(self, channel):
        listener = channel.add_listener()
        channel.remove_listener(listener.id)
        assert list(channel.get_connections()) == []
        with pytest.raises(InvalidListenerException):
            channel.get_listener(listener.id)

    @pytest.mark.parametrize(
        ("method", "more"),
        [
            ("get_listener", []),
            ("remove_listener", []),
            ("deliver_next", []),
            ("dispatch", [Message("count", 1)]),
        ],
    )
    def test_an_unknown_listener_is_named_in_the_error(self, channel, method, more):
        with pytest.raises(InvalidListenerException, match="nobody-9"):
            getattr(channel, method)("nobody-9", *more)


class DeliveryContract:
    def test_dispatch_reaches_one_listener(self, channel):
        one, other = channel.add_listener(), channel.add_listener()
        one.start()
        other.start()
        channel.dispatch(one.id, count(1))
        assert channel.deliver_next(one.id).payload == 1
        with pytest.raises(NoMessagesException):
            channel.deliver_next(other.id)

    def test_broadcast_reaches_every_listener(self, channel):
        listeners = [channel.add_listener() for _ in range(3)]
        channel.broadcast(count(1))
        for listener in listeners:
            listener.start()
            assert channel.deliver_next(listener.id).payload == 1

    def test_a_broadcast_without_listeners_does_nothing(self, channel):
        channel.broadcast(count(1))
        listener = channel.add_listener()
        listener.start()
        with pytest.raises(NoMessagesException):
            channel.deliver_next(listener.id)

    def test_dispatched_and_broadcast_messages_keep_one_order(self, channel):
        listener = channel.add_listener()
        listener.start()
        channel.broadcast(count(0))
        channel.dispatch(listener.id, count(1))
        channel.broadcast(count(2))
        assert [channel.deliver_next(listener.id).payload for _ in range(3)] == [0, 1, 2]

    def test_delivery_calls_the_listener(self, channel):
        listener = Recorder()
        channel.register_listener(listener)
        listener.start()
        channel.dispatch(listener.id, count(1))
        channel.deliver_next(listener.id)
        assert listener.received == [1]

    def test_a_listener_that_does_not_run_gets_nothing_and_loses_nothing(self, channel):
        listener = channel.add_listener()
        channel.dispatch(listener.id, count(1))
        with pytest.raises(NoMessagesException):
            channel.deliver_next(listener.id)
        listener.start()
        assert channel.deliver_next(listener.id).payload == 1


class StreamContract:
    async def test_a_stream_yields_waiting_messages_then_new_ones(self, channel, call):
        listener = await call(channel.add_listener)
        await call(listener.start)
        await call(channel.dispatch, listener.id, count(0))
        stream = channel.message_stream(listener)
        assert await take(stream, 1) == [("count", 0)]
        await call(channel.dispatch, listener.id, count(1))
        await call(channel.broadcast, count(2))
        assert await take(stream, 2) == [("count", 1), ("count", 2)]
        await soon(stream.aclose())

    async def test_a_waiting_stream_is_woken_by_a_message(self, channel, call):
        listener = await call(channel.add_listener)
        await call(listener.start)
        stream = channel.message_stream(listener)
        waiting = asyncio.create_task(take(stream, 1))
        await asyncio.sleep(0)
        await call(channel.dispatch, listener.id, count(1))
        assert await soon(waiting) == [("count", 1)]
        await soon(stream.aclose())

    async def test_a_stream_ends_when_its_listener_stops(self, channel, call):
        listener = await call(channel.add_listener)
        await call(listener.start)
        await call(channel.dispatch, listener.id, count(1))
        stream = channel.message_stream(listener)
        assert await take(stream, 1) == [("count", 1)]
        await call(listener.stop)
        assert await rest(stream) == []

    async def test_a_waiting_stream_ends_when_its_listener_stops(self, channel, call):
        listener = await call(channel.add_listener)
        await call(listener.start)
        waiting = asyncio.create_task(rest(channel.message_stream(listener)))
        await asyncio.sleep(0)
        await call(listener.stop)
        assert await soon(waiting) == []

    async def test_the_stream_of_a_listener_that_does_not_run_is_empty(self, channel, call):
        listener = await call(channel.add_listener)
        await call(channel.dispatch, listener.id, count(1))
        assert await rest(channel.message_stream(listener)) == []
        await call(listener.start)
        assert (await call(channel.deliver_next, listener.id)).payload == 1

    async def test_an_unknown_listener_gets_one_error_and_the_end(self, channel, call):
        listener = MessageQueueListener("nobody-9")
        await call(listener.start)
        [(kind, text)] = await rest(channel.message_stream(listener))
        assert kind == "error"
        assert "nobody-9" in text

    async def test_watch_streams_messages_published_after_it(self, channel, call):
        await call(channel.broadcast, count(0))
        stream = await channel.watch()
        await call(channel.broadcast, count(1))
        assert await take(stream, 1) == [("count", 1)]
        await soon(stream.aclose())

    async def test_streams_of_one_channel_do_not_disturb_each_other(self, channel, call):
        listeners = [await call(channel.add_listener) for _ in range(3)]
        for listener in listeners:
            await call(listener.start)
        streams = [channel.message_stream(listener) for listener in listeners]
        await call(channel.broadcast, count(1))
        assert [await take(stream, 1) for stream in streams] == [[("count", 1)]] * 3
        await call(listeners[0].stop)
        await call(channel.broadcast, count(2))
        assert await rest(streams[0]) == []
        assert [await take(stream, 1) for stream in streams[1:]] == [[("count", 2)]] * 2
        for stream in streams[1:]:
            await soon(stream.aclose())

    async def test_the_next_stream_yields_what_a_closed_one_did_not(self, channel, call):
        listener = await call(channel.add_listener)
        await call(listener.start)
        for number in range(3):
            await call(channel.dispatch, listener.id, count(number))
        first = channel.message_stream(listener)
        assert await take(first, 1) == [("count", 0)]
        await soon(first.aclose())
        second = channel.message_stream(listener)
        assert await take(second, 2) == [("count", 1), ("count", 2)]
        await soon(second.aclose())

    @pytest.mark.parametrize("seed", range(3))
    async def test_any_interleaving_of_publishing_and_reading_keeps_the_order(
        self, channel, call, seed
    ):
        chance = random.Random(seed)
        listener = await call(channel.add_listener)
        await call(listener.start)
        reading = asyncio.create_task(take(channel.message_stream(listener), 20))
        for number in range(20):
            publish = chance.choice(
                [lambda msg: channel.dispatch(listener.id, msg), channel.broadcast]
            )
            await call(publish, count(number))
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
        assert await soon(reading) == [("count", number) for number in range(20)]


class ChannelContract(RegistryContract, DeliveryContract, StreamContract):
    pass
