"""The bytes of NATS' protocol, in any pieces, also those of a server that is none."""

import json
import random
from urllib.parse import urlparse

import pytest
from nats.aio.client import Client, Srv

from eric_sse_django.wakes.fabric import MALFORMED
from eric_sse_django.wakes.nats import protocol
from eric_sse_django.wakes.nats.protocol import MAX_BYTES, ServerAddress, decoded
from eric_sse_django.wakes.nats.subscriber import MAX_LINE_BYTES, Subscriber

INFO = b'INFO {"server_id": "a", "max_payload": 1048576}\r\n'


class FakeTransport:
    def __init__(self):
        self.written = b""
        self.aborted = False

    def write(self, data):
        self.written += data

    def abort(self):
        self.aborted = True


class Heard:
    """A connection, and what it has called back with."""

    def __init__(self):
        self.data, self.ended = [], 0
        self.subscriber = Subscriber(self.data.append, self.end)
        self.transport = FakeTransport()
        self.subscriber.connection_made(self.transport)

    def end(self):
        self.ended += 1

    def feed(self, stream, size):
        for first in range(0, len(stream), size):
            self.subscriber.data_received(stream[first : first + size])


def message(data, subject=b"eric_sse.7", reply=b""):
    return b"MSG %s 3 %s%d\r\n%s\r\n" % (subject, reply and reply + b" ", len(data), data)


@pytest.mark.parametrize("size", [1, 2, 7, 1_000, 10_000_000])
def test_messages_in_any_pieces_are_received(size):
    some = [b"", b"x", b"a\r\nb\r\n", b"MSG a 1 5\r\n", b"-ERR 'no'\r\n", b"\x00" * 3_000]
    stream = INFO + b"PING\r\n" + b"".join(map(message, some))
    stream += b"+OK\r\n" + INFO + message(b"answer me", reply=b"_INBOX.1") + b"PING\r\n"
    heard = Heard()
    heard.feed(stream, size)
    assert heard.data == [*some, b"answer me"]
    assert heard.transport.written == b"PONG\r\n" * 2
    assert heard.subscriber.error is None
    assert heard.subscriber.greeting["max_payload"] == 1_048_576


@pytest.mark.parametrize("size", [5, 50_000, 10_000_000])
def test_a_message_that_is_too_large_is_not_kept(size, monkeypatch):
    heard = Heard()
    heard.feed(INFO + message(b"x" * MAX_BYTES) + message(b"y" * (MAX_BYTES + 1)), size)
    assert heard.data == [b"x" * MAX_BYTES, b""]
    assert len(heard.subscriber._received) == 0
    heard.feed(message(b"next"), size)
    assert heard.data[2:] == [b"next"]


@pytest.mark.parametrize(
    ("stream", "error"),
    [
        (b"220 mail.example.com ESMTP\r\n", "no NATS"),
        (b"INFO []\r\n", "no NATS"),
        (b'INFO {"max_payload": "many"}\r\n', "no NATS"),
        (b"INFO " + b"[" * 50_000 + b"\r\n", "no NATS"),
        (INFO + b"-ERR 'Authorization Violation'\r\n", "Authorization Violation"),
        (INFO + b"-ERR\r\n", "^$"),
        (INFO + b"HELLO\r\n", "not of its protocol"),
        (INFO + b"MSG a 1 -5\r\n", "not of its protocol"),
        (INFO + b"MSG a 1 5x\r\n", "not of its protocol"),
        (INFO + b"MSG \r\n", "not of its protocol"),
        (b"x" * (MAX_LINE_BYTES + 2), "without an end"),
    ],
)
def test_what_is_not_of_the_protocol_ends_the_connection(stream, error):
    heard = Heard()
    heard.feed(stream, 10_000_000)
    heard.feed(message(b"late"), 10_000_000)
    with pytest.raises(ConnectionError, match=error):
        heard.subscriber.check()
    assert (heard.data, heard.ended) == ([], 1)


@pytest.mark.parametrize("seed", range(20))
def test_no_bytes_raise_an_error_there(seed):
    chance = random.Random(seed)
    parts = [
        INFO,
        b"PING\r\n",
        b"PONG\r\n",
        message(b"x" * 30),
        b"\r\n",
        b"MSG a 1 ",
        b"9999999999",
    ]
    heard = Heard()
    for _ in range(300):
        piece = chance.choice([*parts, chance.randbytes(5)])
        heard.subscriber.data_received(piece[: chance.randrange(len(piece) + 1)])
    assert len(heard.subscriber._received) < 1_000_000


def test_a_connection_that_is_lost_has_ended_once():
    heard = Heard()
    heard.subscriber.connection_lost(ConnectionResetError("reset"))
    heard.subscriber.connection_lost(None)
    with pytest.raises(ConnectionResetError):
        heard.subscriber.check()
    assert heard.ended == 1


@pytest.mark.parametrize(
    ("url", "options", "login"),
    [
        ("nats://a", {}, {}),
        ("nats://a", {"user": "u", "password": "p", "token": "t"}, {"user": "u", "pass": "p"}),
        ("nats://a", {"user": "u"}, {}),
        ("nats://a", {"token": "t"}, {"auth_token": "t"}),
        ("nats://t@a", {}, {"auth_token": "t"}),
        ("nats://u:p%40@a", {}, {"user": "u", "pass": "p%40"}),
        ("nats://u:p@a", {"token": "t"}, {"auth_token": "t"}),
    ],
)
async def test_the_login_is_the_one_of_nats_py(url, options, login):
    line = ServerAddress.of(url).connect_line(options)
    sent = json.loads(line.removeprefix(b"CONNECT "))
    client = Client()
    client._setup_server_pool(url)
    client._current_server = Srv(urlparse(url))
    client._auth_configured = True
    client.options = {"verbose": False, "pedantic": False, "name": protocol.CLIENT_NAME}
    client.options |= {"user": None, "password": None, "token": None, "no_echo": None} | options
    theirs = json.loads(client._connect_command().removeprefix(b"CONNECT "))
    assert {key: value for key, value in theirs.items() if key in sent} == sent
    assert {key: sent[key] for key in ("user", "pass", "auth_token") if key in sent} == login
    assert {"user", "pass", "auth_token"} & theirs.keys() == login.keys()


@pytest.mark.parametrize("data", [b"", b"[]", b"1", b"\xff", b"[" * 100_000, b"{"])
def test_what_is_no_object_is_malformed(data):
    assert decoded(data) is MALFORMED
