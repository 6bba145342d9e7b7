import asyncio
import logging
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from eric_sse_django.connection import Connection, InMemoryConnectionsFactory
from eric_sse_django.entities import AbstractChannel
from eric_sse_django.exception import NoMessagesException, RepositoryError
from eric_sse_django.listener import MessageQueueListener
from eric_sse_django.message import Message
from eric_sse_django.outage import Backoff
from eric_sse_django.prefabs import SSEChannel
from eric_sse_django.queues import InMemoryQueue
from tests.contract import ChannelContract, count, rest, soon, take


class TestChannelInMemory(ChannelContract):
    pass


class CountingQueue(InMemoryQueue):
    """Counts how often a stream looked, and knows who watches."""

    def __init__(self):
        super().__init__()
        self.looks = 0
        self.watching = 0

    async def apop(self):
        self.looks += 1
        return self.pop()

    def watch(self, wake):
        undo = super().watch(wake)
        self.watching += 1

        def counted():
            self.watching -= 1
            undo()

        return counted


class BrokenQueue(InMemoryQueue):
    """Fails a given number of times, then works."""

    def __init__(self, failures):
        super().__init__()
        self.failures = failures

    def pop(self):
        if self.failures:
            self.failures -= 1
            raise RepositoryError("password is hunter2")
        return super().pop()


def connect(channel, queue, listener=None):
    """Return a running listener of `channel` whose queue is `queue`."""
    listener = listener or MessageQueueListener()
    channel.register_connection(Connection(listener, queue))
    listener.start()
    return listener


async def start(stream):
    """Return the task that waits for the stream's next event, waiting already."""
    waiting = asyncio.create_task(anext(stream))
    for _ in range(3):
        await asyncio.sleep(0)
    return waiting


@pytest.fixture
def no_backoff(monkeypatch):
    delays = []

    def next_delay_s(backoff):
        delays.append(1)
        return 0

    monkeypatch.setattr(Backoff, "next_delay_s", next_delay_s)
    return delays


class TestIdentity:
    def test_a_channel_has_the_given_id(self):
        assert SSEChannel(channel_id="orders").id == "orders"

    def test_channels_without_a_given_id_differ(self):
        assert SSEChannel().id != SSEChannel().id

    def test_a_channel_must_implement_adapt(self):
        with pytest.raises(TypeError, match="adapt"):
            AbstractChannel()


class TestIdle:
    async def test_a_waiting_stream_does_not_poll_its_queue(self, channel):
        queues = [CountingQueue() for _ in range(50)]
        streams = [channel.message_stream(connect(channel, queue)) for queue in queues]
        waiting = [await start(stream) for stream in streams]
        looks = sum(queue.looks for queue in queues)
        last = CountingQueue()
        last_stream = channel.message_stream(connect(channel, last))
        # The loop turns many times meanwhile: once for each message that is delivered.
        for number in range(100):
            last.push(count(number))
        await take(last_stream, 100)
        assert sum(queue.looks for queue in queues) == looks == 50
        channel.broadcast(count(7))
        assert [event["data"] for event in await soon(asyncio.gather(*waiting))] == [7] * 50

    async def test_waiting_streams_take_no_processor_time(self, channel):
        streams = [channel.message_stream(channel.add_listener()) for _ in range(200)]
        for connection in channel.get_connections():
            connection.listener.start()
        waiting = [await start(stream) for stream in streams]
        before = time.thread_time()
        await asyncio.sleep(0.03)
        # A stream that polled at each turn of the loop would use all of the 0.03 s.
        assert time.thread_time() - before < 0.015
        channel.broadcast(count(1))
        await soon(asyncio.gather(*waiting))

    async def test_a_queue_without_notifications_is_polled(self, channel, monkeypatch):
        monkeypatch.setattr("eric_sse_django.alarm.LOOK_INTERVAL_S", 0.001)

        class Mute(InMemoryQueue):
            def watch(self, wake):
                return None

        queue = Mute()
        waiting = await start(channel.message_stream(connect(channel, queue)))
        queue.push(count(1))
        assert (await soon(waiting))["data"] == 1

    async def test_a_message_that_lands_while_the_queue_is_read_as_empty_is_seen(self, channel):
        class Late(InMemoryQueue):
            async def apop(self):
                try:
                    return self.pop()
                except NoMessagesException:
                    self.push(count(1))
                    await asyncio.sleep(0)  # the wake arrives before the answer "empty"
                    raise

        stream = channel.message_stream(connect(channel, Late()))
        assert await take(stream, 2) == [("count", 1)] * 2


class TestThreads:
    async def test_a_push_from_another_thread_wakes_the_stream(self, channel):
        listener = connect(channel, InMemoryQueue())
        waiting = await start(channel.message_stream(listener))
        threading.Thread(target=channel.dispatch, args=[listener.id, count(1)]).start()
        assert (await soon(waiting))["data"] == 1

    async def test_a_stop_from_another_thread_ends_the_stream(self, channel):
        listener = connect(channel, InMemoryQueue())
        waiting = await start(channel.message_stream(listener))
        threading.Thread(target=listener.stop).start()
        with pytest.raises(StopAsyncIteration):
            await soon(waiting)

    def test_one_channel_serves_several_event_loops_at_once(self, channel):
        received = {}

        def serve(name):
            received[name] = asyncio.run(take(channel.message_stream(listeners[name]), 50))

        listeners = {name: connect(channel, InMemoryQueue()) for name in range(3)}
        threads = [threading.Thread(target=serve, args=[name]) for name in listeners]
        for thread in threads:
            thread.start()
        for number in range(50):
            channel.broadcast(count(number))
        for thread in threads:
            thread.join()
        expected = [("count", number) for number in range(50)]
        assert [received[name] for name in range(3)] == [expected] * 3

    def test_listeners_are_added_and_removed_during_broadcasts(self, channel):
        stayed = connect(channel, InMemoryQueue())
        over = threading.Event()

        def add_and_remove():
            while not over.is_set():
                channel.remove_listener(channel.add_listener().id)

        with ThreadPoolExecutor(3) as threads:
            visits = [threads.submit(add_and_remove) for _ in range(3)]
            for number in range(300):
                channel.broadcast(count(number))
            over.set()
        for visit in visits:
            visit.result()
        assert [channel.deliver_next(stayed.id).payload for _ in range(300)] == list(range(300))

    @pytest.mark.parametrize("seed", range(3))
    async def test_no_interleaving_of_threads_loses_a_message(self, channel, seed):
        chance = random.Random(seed)
        listener = connect(channel, InMemoryQueue())
        pauses = [chance.choice([0, 0, 0, 0.0002]) for _ in range(100)]

        def publish():
            for number, pause in enumerate(pauses):
                time.sleep(pause)
                channel.dispatch(listener.id, count(number))

        publishing = asyncio.create_task(asyncio.to_thread(publish))
        events = await take(channel.message_stream(listener), 100)
        assert events == [("count", number) for number in range(100)]
        await publishing


class TestRegistryInMemory:
    def test_a_broadcast_skips_a_listener_that_was_just_removed(self, channel, monkeypatch):
        left, stayed = channel.add_listener(), channel.add_listener()
        connections = channel.get_connections()
        channel.remove_listener(left.id)
        monkeypatch.setattr(channel, "get_connections", lambda: connections)
        channel.broadcast(count(1))
        stayed.start()
        assert channel.deliver_next(stayed.id).payload == 1

    def test_connections_are_a_snapshot(self, channel):
        channel.add_listener()
        connections = channel.get_connections()
        channel.add_listener()
        assert len(list(connections)) == 1

    def test_another_listener_of_the_same_id_takes_over_the_queue(self, channel):
        channel.register_listener(MessageQueueListener("till-7"))
        channel.dispatch("till-7", count(1))
        successor = MessageQueueListener("till-7")
        channel.register_listener(successor)
        successor.start()
        assert channel.get_listener("till-7") is successor
        assert channel.deliver_next("till-7").payload == 1


class KeepingFactory(InMemoryConnectionsFactory):
    """Keeps the connections that were given back to it."""

    def __init__(self):
        self.released = []
        self.error = None

    def release(self, connection):
        if self.error is not None:
            raise self.error
        self.released.append(connection)


class TestConnectionsAreGivenBack:
    @pytest.fixture
    def factory(self):
        return KeepingFactory()

    @pytest.fixture
    def channel(self, factory):
        return SSEChannel(connections_factory=factory)

    def test_a_removed_listeners_connection_is_given_back_once(self, channel, factory):
        listener = channel.add_listener()
        [connection] = channel.get_connections()
        channel.remove_listener(listener.id)
        assert factory.released == [connection]

    def test_a_replaced_connection_is_not_given_back_for_its_listener_continues(
        self, channel, factory
    ):
        listener = channel.add_listener()
        other = Connection(listener, InMemoryQueue())
        channel.register_connection(other)
        assert factory.released == []
        channel.remove_listener(listener.id)
        assert factory.released == [other]

    def test_a_connection_that_the_factory_fails_to_release_stays_registered(
        self, channel, factory
    ):
        listener = channel.add_listener()
        factory.error = RepositoryError("away")
        with pytest.raises(RepositoryError):
            channel.remove_listener(listener.id)
        assert channel.get_listener(listener.id) is listener
        factory.error = None
        channel.remove_listener(listener.id)
        assert channel.get_connections() == ()

    async def test_a_closed_watch_gives_its_connection_back(self, channel, factory):
        stream = await channel.watch()
        [connection] = channel.get_connections()
        channel.broadcast(count(1))
        await take(stream, 1)
        await soon(stream.aclose())
        assert factory.released == [connection]


class TestLeaving:
    @pytest.mark.parametrize("messages", [0, 1])
    async def test_closing_a_stream_removes_its_watcher(self, channel, messages):
        queue = CountingQueue()
        listener = connect(channel, queue)
        stream = channel.message_stream(listener)
        waiting = await start(stream)
        assert queue.watching == 1
        for number in range(messages):
            queue.push(count(number))
            await soon(waiting)
        waiting.cancel()
        await asyncio.wait([waiting])
        await soon(stream.aclose())
        assert queue.watching == 0
        assert len(listener._watchers) == 0

    async def test_the_end_of_a_stream_removes_its_watcher(self, channel):
        queue = CountingQueue()
        listener = connect(channel, queue)
        stream = channel.message_stream(listener)
        waiting = await start(stream)
        listener.stop()
        await asyncio.wait([waiting])
        assert await rest(stream) == []
        assert queue.watching == 0

    async def test_a_removed_listener_gets_one_error_and_the_end(self, channel):
        listener = connect(channel, InMemoryQueue())
        stream = channel.message_stream(listener)
        waiting = await start(stream)
        channel.remove_listener(listener.id)
        event = await soon(waiting)
        assert event["event"] == "error"
        assert listener.id in event["data"]
        assert await rest(stream) == []

    async def test_a_replaced_queue_ends_the_stream_that_waits_on_it(self, channel):
        listener = connect(channel, InMemoryQueue())
        waiting = await start(channel.message_stream(listener))
        channel.register_connection(Connection(listener, InMemoryQueue()))
        assert (await soon(waiting))["event"] == "error"

    async def test_a_closed_watch_removes_its_listener(self, channel):
        stream = await channel.watch()
        channel.broadcast(count(1))
        await take(stream, 1)
        assert len(channel.get_connections()) == 1
        await soon(stream.aclose())
        assert channel.get_connections() == ()

    async def test_a_watch_whose_listener_was_removed_ends(self, channel):
        stream = await channel.watch()
        waiting = await start(stream)
        [connection] = channel.get_connections()
        channel.remove_listener(connection.listener.id)
        assert (await soon(waiting))["event"] == "error"
        assert await rest(stream) == []


class TestDelay:
    async def test_the_delay_is_kept_between_two_messages(self):
        channel = SSEChannel(stream_delay_seconds=0.01)
        listener = connect(channel, InMemoryQueue())
        for number in range(3):
            channel.dispatch(listener.id, count(number))
        before = time.monotonic()
        await take(channel.message_stream(listener), 3)
        assert time.monotonic() - before >= 0.019

    async def test_a_stop_does_not_wait_for_the_delay(self):
        channel = SSEChannel(stream_delay_seconds=60)
        listener = connect(channel, InMemoryQueue())
        channel.dispatch(listener.id, count(1))
        stream = channel.message_stream(listener)
        await take(stream, 1)
        ending = asyncio.create_task(rest(stream))
        await asyncio.sleep(0)
        listener.stop()
        assert await soon(ending) == []

    async def test_a_full_queue_lets_other_tasks_run_between_messages(self, channel):
        listener = connect(channel, InMemoryQueue())
        for number in range(3):
            channel.dispatch(listener.id, count(number))
        seen = []
        async for event in channel.message_stream(listener):
            asyncio.get_running_loop().call_soon(seen.append, "other")
            seen.append(event["data"])
            if event["data"] == 2:
                break
        assert seen == [0, "other", 1, "other", 2]


class TestFailures:
    async def test_a_failing_queue_is_logged_and_tried_again(self, channel, no_backoff, caplog):
        queue = BrokenQueue(failures=3)
        listener = connect(channel, queue)
        queue.push(Message("count", "the payload"))
        stream = channel.message_stream(listener)
        events = await take(stream, 4)
        assert [kind for kind, _ in events] == ["error"] * 3 + ["count"]
        assert len(no_backoff) == 3
        assert "hunter2" not in str(events)
        for record in caplog.records:
            assert record.levelno == logging.ERROR
            assert channel.id in record.getMessage()
            assert listener.id in record.getMessage()
            assert "the payload" not in caplog.text

    async def test_a_queue_that_keeps_failing_is_tried_less_and_less_often(
        self, channel, monkeypatch
    ):
        slept = []

        async def sleep(alarm, seconds, goes_on):
            slept.append(seconds)

        monkeypatch.setattr("eric_sse_django.alarm.Alarm.sleep", sleep)
        await take(channel.message_stream(connect(channel, BrokenQueue(failures=12))), 12)
        # Every second one: their random parts do not overlap.
        assert slept[0] < slept[2] < slept[4] < slept[6]
        assert slept[-1] >= 15

    async def test_a_queue_that_answers_again_resets_the_backoff(self, channel, monkeypatch):
        slept = []

        async def sleep(alarm, seconds, goes_on):
            slept.append(seconds)

        monkeypatch.setattr("eric_sse_django.alarm.Alarm.sleep", sleep)
        queue = BrokenQueue(failures=8)
        stream = channel.message_stream(connect(channel, queue))
        await take(stream, 8)
        waiting = await start(stream)  # answers: empty
        queue.failures = 1
        channel.broadcast(count(1))
        await soon(waiting)
        await take(stream, 1)
        assert slept[-1] < 1 < slept[-2]

    async def test_a_stop_ends_the_stream_of_a_failing_queue_at_once(self, channel):
        listener = connect(channel, BrokenQueue(failures=100))
        stream = channel.message_stream(listener)
        await take(stream, 1)
        ending = asyncio.create_task(rest(stream))
        await asyncio.sleep(0)
        listener.stop()
        assert await soon(ending) == []

    async def test_an_error_replaces_a_message_that_its_listener_refused(self, channel, caplog):
        class Picky(MessageQueueListener):
            def on_message(self, msg):
                if msg.payload == 0:
                    # Must not be taken for an empty queue: the next message waits already.
                    raise NoMessagesException("secret")

        listener = connect(channel, InMemoryQueue(), Picky())
        channel.broadcast(count(0))
        channel.broadcast(count(1))
        events = await take(channel.message_stream(listener), 2)
        assert [kind for kind, _ in events] == ["error", "count"]
        assert "secret" not in str(events)
        assert listener.id in caplog.text

    async def test_an_error_replaces_a_message_that_cannot_be_adapted(self):
        class Halves(SSEChannel):
            def adapt(self, msg):
                if msg.type == "count":
                    msg.payload / 2
                return super().adapt(msg)

        channel = Halves()
        listener = connect(channel, InMemoryQueue())
        channel.broadcast(count("one"))
        channel.broadcast(count(1))
        events = await take(channel.message_stream(listener), 2)
        assert [kind for kind, _ in events] == ["error", "count"]

    def test_delivery_raises_what_the_listener_raises(self, channel):
        class Refusing(MessageQueueListener):
            def on_message(self, msg):
                raise ValueError("refused")

        listener = connect(channel, InMemoryQueue(), Refusing())
        channel.dispatch(listener.id, count(1))
        with pytest.raises(ValueError, match="refused"):
            channel.deliver_next(listener.id)
