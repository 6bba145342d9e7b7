"""Wakes through channels_redis' pub/sub layer, sent without the layer."""

import socket
import threading
from importlib.metadata import PackageNotFoundError

import pytest
from channels.layers import channel_layers
from channels_redis.pubsub import RedisPubSubLoopLayer  # type: ignore[import-untyped]

from eric_sse_django.wakes import channels, pubsub
from eric_sse_django.wakes.channels import ChannelsFabric, LayerCarrier
from eric_sse_django.wakes.fabric import Parcel
from eric_sse_django.wakes.pubsub import Group, Server, server_of

WAKE = {"type": "eric.wake", "sender": "x" * 32}


class FakeRedis:
    """Gives the `answers` one by one; b"" closes the connection."""

    def __init__(self, *answers):
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.server = Server(*self._listening.getsockname()[:2])
        self.received = []
        self._answers = list(answers)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while self._answers:
            client, _ = self._listening.accept()
            with client:
                while self._answers and (asked := client.recv(4_096)):
                    self.received.append(asked)
                    if not (answer := self._answers.pop(0)):
                        break
                    client.sendall(answer)

    def close(self):
        self._thread.join(5)
        self._listening.close()


def publisher_to(redis, *login):
    return pubsub.RedisPublisher(Group(redis.server._replace(login=login), b"asgi__group__g"))


@pytest.fixture
def layers(settings):
    def configure(**config):
        settings.CHANNEL_LAYERS = {"default": {"BACKEND": pubsub.BACKEND, "CONFIG": config}}
        return channel_layers.make_backend("default")

    return configure


@pytest.mark.parametrize("config", [{}, {"prefix": "site"}])
def test_it_sends_the_bytes_that_the_layer_sends(layers, config):
    layer, redis = layers(**config), FakeRedis(b":1\r\n")
    publisher = pubsub.RedisPublisher(pubsub.group_of("g")._replace(server=redis.server))
    publisher.send([Parcel(None, WAKE)])
    publisher.close()
    redis.close()
    name = RedisPubSubLoopLayer(**config)._get_group_channel_name("g").encode()
    parts = [b"PUBLISH", name, layer.serialize(WAKE)]
    assert redis.received[0] == pubsub.resp(*parts)


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        (None, Server("localhost", 6379)),
        ([("redis", 1)], Server("redis", 1)),
        ([{"host": "redis", "port": 1}], Server("redis", 1)),
        (["redis://redis"], Server("redis", 6379)),
        ([{"address": "redis://redis:1/2"}], Server("redis", 1)),
        (["redis://:p%40ss@redis:1/0"], Server("redis", 1, ("p@ss",))),
        (["redis://user:pass@redis"], Server("redis", 6379, ("user", "pass"))),
        (["redis://user@redis"], None),
        (["rediss://redis"], None),
        (["unix:///run/redis"], None),
        (["redis://redis?ssl_cert_reqs=none"], None),
        (["redis://redis:port"], None),
        ([("a", 1), ("b", 1)], None),
        ([{"host": "redis", "port": 1, "password": "x"}], None),
        ([{"sentinels": [("a", 1)], "master_name": "m"}], None),
        ("redis://redis", None),
    ],
)
def test_it_sends_to_one_plain_redis(hosts, expected):
    assert server_of(hosts) == expected


@pytest.mark.parametrize(
    "config", [{"hosts": [("a", 1), ("b", 1)]}, {"symmetric_encryption_keys": ["x"]}]
)
def test_the_layer_sends_what_needs_more(layers, config):
    layers(**config)
    assert pubsub.group_of("g") is None


@pytest.mark.parametrize("alias", [None, "other"])
def test_it_sends_through_the_configured_layer_only(layers, settings, alias):
    layers()
    settings.ERIC_SSE = {"CHANNEL_LAYER": alias}
    assert pubsub.group_of("g") is None


def test_threads_that_are_greenlets_use_the_layer(layers, monkeypatch):
    layers()
    assert isinstance(ChannelsFabric().carrier(), pubsub.RedisPublisher)
    monkeypatch.setattr(channels, "are_greenlets", lambda: True)
    carrier = ChannelsFabric().carrier()
    assert isinstance(carrier, LayerCarrier)
    carrier.close()


def test_a_connection_that_was_closed_while_idle_is_opened_again():
    redis = FakeRedis(b":0\r\n", b"", b":0\r\n")
    publisher = publisher_to(redis)
    publisher.send([Parcel(None, WAKE)])
    publisher.send([Parcel(None, WAKE)])
    redis.close()
    publisher.close()
    assert len(set(redis.received)) == 1
    assert len(redis.received) == 3


def test_it_logs_in_before_it_sends():
    redis = FakeRedis(b"+OK\r\n", b":0\r\n")
    publisher = publisher_to(redis, "user", "pass")
    publisher.send([Parcel(None, WAKE)])
    publisher.close()
    redis.close()
    assert redis.received[0] == b"*3\r\n$4\r\nAUTH\r\n$4\r\nuser\r\n$4\r\npass\r\n"


@pytest.mark.parametrize("answer", [b"-NOAUTH Authentication required.\r\n", b""])
def test_a_refusal_is_an_error(answer):
    redis = FakeRedis(answer)
    publisher = publisher_to(redis)
    with pytest.raises(ConnectionError):
        publisher.send([Parcel(None, WAKE)])
    publisher.close()
    redis.close()


def test_a_redis_that_does_not_answer_is_not_asked_twice(monkeypatch):
    monkeypatch.setattr(pubsub, "LAYER_TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        publisher = pubsub.RedisPublisher(Group(Server(*silent.getsockname()[:2]), b"g"))
        with pytest.raises(TimeoutError):
            publisher.send([Parcel(None, WAKE)])
        assert publisher._socket is None


@pytest.mark.parametrize("more", [b":1\r\n" * 3, b":" * 70_000])
def test_what_is_no_answer_ends_the_connection(more):
    redis = FakeRedis(b":1\r\n", b":1\r\n" + more)
    publisher = publisher_to(redis)
    publisher.send([Parcel(None, WAKE)])
    assert publisher.send_at_once([Parcel(None, WAKE)])
    redis.close()
    assert not publisher.send_at_once([Parcel(None, WAKE)])
    with pytest.raises(OSError, match="refused"):
        publisher.send([Parcel(None, WAKE)])


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_send_that_is_interrupted_leaves_no_half_message(error):
    redis = FakeRedis(b":1\r\n", b"")
    publisher = publisher_to(redis)
    publisher.send([Parcel(None, WAKE)])

    class Interrupted(socket.socket):
        def send(self, data):
            super().send(data[:5])
            raise error

    publisher._socket = Interrupted(fileno=publisher._socket.detach())
    with pytest.raises(error):
        publisher.send_at_once([Parcel(None, WAKE)])
    assert publisher._socket is None
    redis.close()


def test_of_another_major_version_the_layer_itself_sends(layers, monkeypatch):
    layers()
    assert pubsub.group_of("g") is not None
    monkeypatch.setattr(pubsub, "_version", lambda: "5.0.0")
    assert pubsub.group_of("g") is None


def test_of_an_unknown_version_the_layer_itself_is_used(layers, monkeypatch):
    layers()

    def version(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", version)
    assert pubsub.group_of("g") is None
