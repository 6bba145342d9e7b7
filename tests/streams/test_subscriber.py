"""Wakes through channels_redis' pub/sub layer, received without the layer."""

import asyncio
import contextlib
import random

import msgpack  # type: ignore[import-untyped]
import pytest
from channels.layers import channel_layers

from eric_sse_django.wakes import subscriber
from eric_sse_django.wakes.channels import GROUP, ChannelsFabric, LayerReceiver
from eric_sse_django.wakes.fabric import MALFORMED
from eric_sse_django.wakes.pubsub import Group, Server, resp
from eric_sse_django.wakes.subscriber import RedisSubscriber

TIMEOUT_S = 5.0
SUBSCRIBED = resp(b"subscribe", b"asgi__group__g")[:-4] + b":1\r\n"


def message_of(content):
    packed = content if isinstance(content, bytes) else msgpack.packb(content)
    return resp(b"message", b"asgi__group__g", packed)


class FakeRedis:
    """Answers `answers` to what is asked, one by one, in pieces of `piece` bytes."""

    def __init__(self, *answers, piece=1_000_000):
        self.answers, self.piece, self.asked = list(answers), piece, []
        self.writers = []

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        for writer in self.writers:
            writer.transport.abort()
        self.server.close()

    async def serve(self, reader, writer):
        self.writers.append(writer)
        while asked := await reader.read(10_000):
            self.asked.append(asked)
            if self.answers:
                answer = self.answers.pop(0)
                for first in range(0, len(answer), self.piece):
                    writer.write(answer[first : first + self.piece])
                    await writer.drain()
                    await asyncio.sleep(0)

    def receiver(self, *login):
        return RedisSubscriber(Group(Server("127.0.0.1", self.port, login), b"asgi__group__g"))


@contextlib.asynccontextmanager
async def receiving(receiver):
    """Receive in a task; yield it, and a queue of messages and None for each doubt."""
    got = asyncio.Queue()
    task = asyncio.create_task(receiver.receive(got.put_nowait, lambda: got.put_nowait(None)))
    try:
        yield task, got
    finally:
        task.cancel()
        await asyncio.wait([task])
        await receiver.close()


async def next_of(got):
    return await asyncio.wait_for(got.get(), TIMEOUT_S)


@pytest.mark.parametrize("piece", [1, 7, 1_000_000])
async def test_messages_in_any_pieces_are_received(piece):
    some = [{"number": number, "text": "x" * 10 * number} for number in range(20)]
    answer = SUBSCRIBED + b"".join(map(message_of, some))
    async with FakeRedis(answer, piece=piece) as redis, receiving(redis.receiver()) as (_, got):
        assert await next_of(got) is None  # it has joined
        assert [await next_of(got) for _ in some] == some


async def test_what_the_layer_sends_is_received(settings, redis_server):
    hosts = {"hosts": [("127.0.0.1", redis_server.port)], "prefix": "site"}
    backend = "channels_redis.pubsub.RedisPubSubChannelLayer"
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": hosts}}
    layer = channel_layers.make_backend("default")
    receiver = ChannelsFabric().receiver()
    assert isinstance(receiver, RedisSubscriber)
    content = {"type": "eric.wake", "segments": "\u00e9" * 50_000, "v": 1, "x": [1.5, None]}
    async with receiving(receiver) as (_, got):
        assert await next_of(got) is None
        await layer.group_send(GROUP, content)
        assert await next_of(got) == content
    await layer.flush()


@pytest.mark.parametrize(
    "content", [b"", b"\xc1", b"\x93\x01", msgpack.packb("text"), msgpack.packb([1]), b"\x01\x02"]
)
async def test_what_is_not_a_message_is_malformed(content):
    answer = SUBSCRIBED + message_of(content) + message_of({"next": 1})
    async with FakeRedis(answer) as redis, receiving(redis.receiver()) as (_, got):
        assert [await next_of(got) for _ in range(3)] == [None, MALFORMED, {"next": 1}]


async def test_what_is_too_large_is_malformed_and_does_not_end_it():
    large = message_of(b"x" * (subscriber.MAX_BYTES + 1))
    answer = SUBSCRIBED + large + message_of({"next": 1})
    async with FakeRedis(answer) as redis, receiving(redis.receiver()) as (_, got):
        assert [await next_of(got) for _ in range(3)] == [None, MALFORMED, {"next": 1}]


async def test_it_logs_in_before_it_joins():
    async with (
        FakeRedis(b"+OK\r\n", SUBSCRIBED) as redis,
        receiving(redis.receiver("user", "pass")) as (_, got),
    ):
        assert await next_of(got) is None
        assert redis.asked == [
            resp(b"AUTH", b"user", b"pass"),
            resp(b"SUBSCRIBE", b"asgi__group__g"),
        ]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"-NOPERM no\r\n", "NOPERM no"),
        (SUBSCRIBED + b"-ERR away\r\n", "ERR away"),
        (SUBSCRIBED + b"*x\r\n", "closed"),
        (SUBSCRIBED + b"$x\r\n", "closed"),
        (SUBSCRIBED + b"x" * 100_000, "closed"),
    ],
)
async def test_an_error_of_redis_ends_it(answer, text):
    async with FakeRedis(answer) as redis, receiving(redis.receiver()) as (task, _):
        with pytest.raises(ConnectionError, match=text):
            await asyncio.wait_for(asyncio.shield(task), TIMEOUT_S)


async def test_a_connection_that_ends_ends_it():
    async with FakeRedis(SUBSCRIBED) as redis, receiving(redis.receiver()) as (task, got):
        assert await next_of(got) is None
        redis.writers[0].close()
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(asyncio.shield(task), TIMEOUT_S)


async def test_a_redis_that_does_not_answer_a_ping_ends_it(monkeypatch):
    monkeypatch.setattr(subscriber, "PING_S", 0.01)
    pong = resp(b"pong", b"")
    async with FakeRedis(SUBSCRIBED, pong, pong) as redis:
        monkeypatch.setattr(subscriber, "ANSWER_S", 0.05)
        async with receiving(redis.receiver()) as (task, got):
            assert await next_of(got) is None
            with pytest.raises(ConnectionError, match="not answered"):
                await asyncio.wait_for(asyncio.shield(task), TIMEOUT_S)
            assert redis.asked[1:] == [resp(b"PING")] * 3
            assert got.empty()


async def test_a_redis_that_does_not_answer_at_all_ends_it(monkeypatch):
    monkeypatch.setattr(subscriber, "ANSWER_S", 0.02)
    async with FakeRedis() as redis, receiving(redis.receiver()) as (task, _):
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(task), TIMEOUT_S)


async def test_no_bytes_raise_anything_but_a_lost_connection():
    chance = random.Random(3)
    for _ in range(100):
        garbage = bytes(chance.choice(b"*$:+-0123456789\r\nmx") for _ in range(60))
        async with (
            FakeRedis(SUBSCRIBED + garbage) as redis,
            receiving(redis.receiver()) as (task, got),
        ):
            await next_of(got)
            redis.writers[0].close()
            with pytest.raises(ConnectionError):
                await asyncio.wait_for(asyncio.shield(task), TIMEOUT_S)


def test_a_layer_that_is_less_plain_receives_by_itself(settings, redis_server):
    config = {"hosts": [("127.0.0.1", redis_server.port)], "symmetric_encryption_keys": ["x"]}
    backend = "channels_redis.pubsub.RedisPubSubChannelLayer"
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": config}}
    assert isinstance(ChannelsFabric().receiver(), LayerReceiver)
