import asyncio
import multiprocessing
import pickle
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from eric_sse_django.exception import (
    InvalidChannelException,
    InvalidListenerException,
    NoMessagesException,
    RepositoryError,
)
from eric_sse_django.listener import MessageQueueListener
from eric_sse_django.message import Message, SignedMessage
from eric_sse_django.prefabs import (
    MESSAGES_PER_WORKER,
    DataProcessingChannel,
    SimpleDistributedApplicationChannel,
    SimpleDistributedApplicationListener,
    SSEChannel,
)
from tests.contract import count, rest, soon
from tests.core.workers import Doubler


class TestSSEChannel:
    def test_it_adapts_a_message_to_the_fields_of_an_event(self):
        channel = SSEChannel(retry_timeout_milliseconds=500)
        assert channel.adapt(Message("paid", {"id": 7})) == {
            "event": "paid",
            "retry": 500,
            "data": {"id": 7},
        }

    def test_a_browser_reconnects_after_three_seconds_by_default(self):
        assert SSEChannel().adapt(Message("paid"))["retry"] == 3000


class Blocking(MessageQueueListener):
    """Finishes a message when it is released."""

    def __init__(self):
        super().__init__()
        self.gate = threading.Event()
        self.processed = []

    def on_message(self, msg):
        self.gate.wait(5)
        self.processed.append(msg.payload)


class RecordingExecutor(ThreadPoolExecutor):
    """Notes its own end, and refuses what could not be sent to another process."""

    ended: list[Any]

    def submit(self, fn, /, *args, **kwargs):
        fn, args = pickle.loads(pickle.dumps((fn, args)))
        return super().submit(fn, *args, **kwargs)

    def shutdown(self, *args, **kwargs):
        super().shutdown(*args, **kwargs)
        self.ended.append(True)


@pytest.fixture
def executor_class():
    return type("Recording", (RecordingExecutor,), {"ended": []})


def fill(channel, listener, numbers):
    channel.register_listener(listener)
    for number in numbers:
        channel.dispatch(listener.id, Message("job", {"number": number}))


class TestDataProcessingChannel:
    async def test_it_streams_as_any_channel(self):
        channel = DataProcessingChannel(max_workers=1)
        stream = await channel.watch()
        channel.broadcast(count(1))
        assert await soon(anext(stream)) == {"event": "count", "data": 1}
        await soon(stream.aclose())

    async def test_each_queued_message_is_processed_and_yielded_once(self, executor_class):
        channel = DataProcessingChannel(max_workers=3, executor_class=executor_class)
        listener = Doubler()
        fill(channel, listener, range(20))
        results = await rest(channel.process_queue(listener))
        assert sorted(data["doubled"] for _, data in results) == list(range(0, 40, 2))
        assert executor_class.ended == [True]
        with pytest.raises(NoMessagesException):
            channel._connection(listener.id).queue.pop()

    async def test_worker_processes_can_do_the_work(self):
        spawning = partial(
            ProcessPoolExecutor, mp_context=multiprocessing.get_context("forkserver")
        )
        channel = DataProcessingChannel(max_workers=1, executor_class=spawning)
        listener = Doubler()
        fill(channel, listener, [21])
        [(_, data)] = await rest(channel.process_queue(listener))
        assert data == {"number": 21, "doubled": 42}

    async def test_an_empty_queue_yields_nothing(self, executor_class):
        channel = DataProcessingChannel(max_workers=1, executor_class=executor_class)
        assert await rest(channel.process_queue(channel.add_listener())) == []
        assert executor_class.ended == [True]

    async def test_results_come_in_the_order_in_which_they_are_done(self):
        class SlowFirst(Blocking):
            def on_message(self, msg):
                if msg.payload["number"] == 0:
                    super().on_message(msg)

        channel = DataProcessingChannel(max_workers=2)
        listener = SlowFirst()
        fill(channel, listener, range(3))
        results = channel.process_queue(listener)
        first = [(await soon(anext(results)))["data"]["number"] for _ in range(2)]
        listener.gate.set()
        assert first == [1, 2]
        assert [data["number"] for _, data in await rest(results)] == [0]

    async def test_the_event_loop_is_free_while_workers_work(self):
        channel = DataProcessingChannel(max_workers=1)
        listener = Blocking()
        fill(channel, listener, [1])
        waiting = asyncio.create_task(rest(channel.process_queue(listener)))
        await asyncio.sleep(0.001)
        assert not waiting.done()
        listener.gate.set()
        assert await soon(waiting) == [("job", {"number": 1})]

    async def test_closing_early_waits_for_running_work_and_keeps_the_rest_queued(self):
        class FreeFirst(Blocking):
            def on_message(self, msg):
                if msg.payload["number"] == 0:
                    self.processed.append(msg.payload)
                else:
                    super().on_message(msg)

        channel = DataProcessingChannel(max_workers=2)
        listener = FreeFirst()
        fill(channel, listener, range(10))
        results = channel.process_queue(listener)
        await soon(anext(results))
        # Two wait at the gate, one behind them, when the stream is left.
        asyncio.get_running_loop().call_later(0.002, listener.gate.set)
        await soon(results.aclose())
        begun = 2 * MESSAGES_PER_WORKER
        assert sorted(data["number"] for data in listener.processed) == list(range(begun))
        assert channel._connection(listener.id).queue.pop().payload == {"number": begun}

    async def test_an_exception_of_the_listener_reaches_the_caller(self, executor_class):
        channel = DataProcessingChannel(max_workers=1, executor_class=executor_class)
        listener = Doubler()
        channel.register_listener(listener)
        channel.dispatch(listener.id, Message("job", {}))
        with pytest.raises(KeyError, match="number"):
            await rest(channel.process_queue(listener))
        assert executor_class.ended == [True]

    async def test_an_exception_of_the_queue_reaches_the_caller(self, executor_class, monkeypatch):
        channel = DataProcessingChannel(max_workers=1, executor_class=executor_class)
        listener = channel.add_listener()

        def fail():
            raise RepositoryError("disk full")

        monkeypatch.setattr(channel._connection(listener.id).queue, "pop", fail)
        with pytest.raises(RepositoryError, match="disk full"):
            await rest(channel.process_queue(listener))
        assert executor_class.ended == [True]

    async def test_an_unknown_listener_is_named_in_the_error(self):
        channel = DataProcessingChannel(max_workers=1)
        with pytest.raises(InvalidListenerException, match="nobody-9"):
            await rest(channel.process_queue(MessageQueueListener("nobody-9")))


class TestSimpleDistributedApplication:
    @pytest.fixture
    def channel(self):
        return SimpleDistributedApplicationChannel(channel_id="application")

    @pytest.fixture
    def connected(self, channel):
        def connect(listener_id):
            listener = SimpleDistributedApplicationListener(listener_id)
            channel.register_listener(listener)
            listener.start()
            return listener

        return connect

    def test_a_sent_message_is_signed(self, channel, connected):
        alice, bob = connected("alice"), connected("bob")
        alice.dispatch_to(bob, Message("hello", 1))
        message = channel.deliver_next("bob")
        assert (message.sender_id, message.type, message.payload) == ("alice", "hello", 1)

    def test_answers_go_back_to_the_sender_signed(self, channel, connected):
        alice, bob = connected("alice"), connected("bob")
        bob.set_action("ask", lambda msg: [Message("one", msg.payload), Message("two")])
        alice.dispatch_to(bob, Message("ask", 7))
        channel.deliver_next("bob")
        one, two = channel.deliver_next("alice"), channel.deliver_next("alice")
        assert (one.type, one.payload, one.sender_id) == ("one", 7, "bob")
        assert (two.type, two.sender_id) == ("two", "bob")

    def test_a_stop_message_stops_and_a_start_message_starts(self, channel, connected):
        alice, bob = connected("alice"), connected("bob")
        alice.dispatch_to(bob, Message("stop"))
        channel.deliver_next("bob")
        assert not bob.is_running()
        bob.on_message(SignedMessage("alice", "start"))
        assert bob.is_running()

    @pytest.mark.parametrize("name", ["start", "stop"])
    def test_start_and_stop_cannot_be_set(self, name):
        with pytest.raises(KeyError, match=name):
            SimpleDistributedApplicationListener().set_action(name, lambda msg: [])

    def test_an_unknown_action_is_ignored(self, channel, connected):
        alice, bob = connected("alice"), connected("bob")
        alice.dispatch_to(bob, Message("unheard of"))
        channel.deliver_next("bob")
        with pytest.raises(NoMessagesException):
            channel.deliver_next("alice")

    def test_a_key_error_in_an_action_does_not_mean_an_unknown_action(self, channel, connected):
        alice, bob = connected("alice"), connected("bob")
        bob.set_action("ask", lambda msg: {}["missing"])
        alice.dispatch_to(bob, Message("ask"))
        with pytest.raises(KeyError, match="missing"):
            channel.deliver_next("bob")

    @pytest.mark.parametrize("message", [SignedMessage("gone", "ask"), Message("ask")])
    def test_an_answer_without_recipient_is_dropped_with_a_warning(
        self, connected, message, caplog
    ):
        bob = connected("bob")
        bob.set_action("ask", lambda msg: [Message("answer", "the payload")])
        bob.on_message(message)
        [record] = caplog.records
        assert record.levelname == "WARNING"
        assert "bob" in record.getMessage()
        assert "the payload" not in caplog.text

    def test_a_listener_without_a_channel_cannot_send(self, connected):
        with pytest.raises(InvalidChannelException, match="register"):
            SimpleDistributedApplicationListener().dispatch_to(connected("bob"), Message("ask"))

    def test_other_listeners_can_take_part(self, channel, connected):
        alice, plain = connected("alice"), channel.add_listener()
        plain.start()
        alice.dispatch_to(plain, Message("hello"))
        assert channel.deliver_next(plain.id).sender_id == "alice"
