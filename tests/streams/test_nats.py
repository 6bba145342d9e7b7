"""NATS as the fabric: its servers, subscriptions, limits, permissions and options."""

import asyncio
import contextlib
import json
import logging
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nkeys  # type: ignore[import-untyped]
import pytest
from django.core.exceptions import ImproperlyConfigured
from nats.aio.client import Client

from eric_sse_django import checks
from eric_sse_django.wakes.fabric import MALFORMED, Parcel
from eric_sse_django.wakes.nats import (
    NatsFabric,
    client,
    protocol,
    publisher,
    receiver,
    subscriber,
)
from eric_sse_django.wakes.nats import fabric as fabric_module
from eric_sse_django.wakes.nats.fabric import problem_of
from eric_sse_django.wakes.nats.protocol import MAX_BYTES, Site
from tests import certificates
from tests.server import is_free
from tests.servers import Nats, NatsCluster, free_port
from tests.streams.test_fabrics import Ear, carrier_of, messages, number, until

BACKEND = "eric_sse_django.wakes.nats.NatsFabric"
AT = "nats://127.0.0.1:4222"
AT_NONE = "nats://127.0.0.1:1"


@pytest.fixture(params=["own", "nats-py"])
def way(request, monkeypatch):
    """Use this app's own connections, or nats-py."""
    if request.param == "nats-py":
        monkeypatch.setattr(Site, "is_plain", lambda self: False)


@pytest.fixture
def fabric(nats_server, way):
    return NatsFabric(nats_server.url, {})


class Forger:
    """Publishes bytes, as a stranger in the same NATS may."""

    def __init__(self, url):
        self.url, self.client = url, Client()

    async def __aenter__(self):
        await self.client.connect(self.url)
        return self

    async def __aexit__(self, *_):
        await self.client.close()

    async def sends(self, subject, data):
        await self.client.publish(subject, data)
        await self.client.flush()


FORGED = [
    b"",
    b"\xff\x00",
    b"[" * 100_000,
    b"[1, 2]",
    b"null",
    b'"text"',
    b'{"type": ' + b"1" * 5_000 + b"}",
    json.dumps({"x": "y" * MAX_BYTES}).encode(),
    b"x" * 1_000_000,
]


async def test_what_is_no_message_of_this_app_is_malformed_and_no_error(
    fabric, nats_server, caplog
):
    async with Ear(fabric, 7) as ear, Forger(nats_server.url) as forger:
        for count, data in enumerate(FORGED):
            await forger.sends("eric_sse.7" if count % 2 else "eric_sse.all", data)
        await forger.client.publish("eric_sse.7", b'{"n": 1}', headers={"a": "b"})
        await forger.sends("eric_sse.7", b'{"n": 2}')
        await ear.hears(*[MALFORMED] * len(FORGED), {"n": 1}, {"n": 2})
        assert ear.doubts == 1
    assert caplog.messages == []


async def test_a_handler_that_fails_ends_receiving_with_its_error(fabric, nats_server):
    receiver = fabric.receiver()
    heard = asyncio.Event()

    def fail(message):
        raise ZeroDivisionError

    task = asyncio.create_task(receiver.receive(fail, heard.set))
    await asyncio.wait_for(heard.wait(), 5)
    async with Forger(nats_server.url) as forger:
        await forger.sends("eric_sse.all", b"{}")
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(task, 5)
    await receiver.close()


async def test_subscriptions_follow_what_is_wanted(fabric):
    wanted = set()
    async with carrier_of(fabric) as send, Ear(fabric) as ear:
        began = time.monotonic()
        for channel in range(1, 50):
            wanted.add(channel)
            ear.receiver.want(wanted)  # the same set each time, as it grows
            await asyncio.sleep(0)
        await ear.until(lambda: 49 in ear.receiver._subscriptions)
        # What came together shares a read of the log.
        assert ear.doubts <= 4 + (time.monotonic() - began) / receiver.BATCH_S
        ear.receiver.want({*wanted, 50})
        before = ear.doubts  # the next one comes after 49 was confirmed
        await ear.until(lambda: ear.doubts > before)
        await send(number(49, channel=49), number(1, channel=1))
        await ear.hears(*messages(49, 1))
        ear.receiver.want({1})
        await ear.until(lambda: ear.receiver._subscriptions.keys() == {1})
        doubts = ear.doubts
        await send(number(2, channel=2), number(3, channel=1))
        await ear.hears(*messages(49, 1, 3))
        assert ear.doubts == doubts  # to want less loses nothing


async def test_changes_of_20_000_subscriptions_are_cheap(fabric):
    wanted = set(range(20_000))
    async with Ear(fabric, *wanted) as ear:
        began = time.thread_time()
        for channel in range(30_000, 30_500):
            wanted.add(channel)
            wanted.discard(channel - 10_000)
            ear.receiver.want(wanted)
            await asyncio.sleep(0.001)
        await ear.until(lambda: ear.receiver._subscriptions.keys() == wanted)
        assert time.thread_time() - began < 0.5  # measured: 0.04


async def test_two_namespaces_share_a_server(nats_server):
    one, other = (NatsFabric(nats_server.url, {"namespace": name}) for name in ("a.b", "c"))
    async with Ear(one) as of_one, Ear(other) as of_other:
        async with carrier_of(one) as send:
            await send(number(1))
        async with carrier_of(other) as send:
            await send(number(2))
        await of_one.hears(*messages(1))
        await of_other.hears(*messages(2))


# What breaks ---------------------------------------------------------------------------


@pytest.fixture
def server():
    with Nats() as server:
        yield server
        if server.process.poll() is None:
            os.kill(server.process.pid, signal.SIGCONT)


def everywhere(monkeypatch, **values):
    """Replace constants in each module that has them."""
    for name, value in values.items():
        for module in (client, protocol, publisher, receiver, subscriber):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, value)


@pytest.fixture
def quick(monkeypatch):
    everywhere(monkeypatch, PING_S=0.05, ANSWER_S=0.2, LAYER_TIMEOUT_S=0.2, CONNECT_S=0.2)


# What the errors of a connection that has ended contain.
ENDED = r"EOF|closed|reset"


async def ending(fabric, breaks):
    """Receive while `breaks` breaks the server; raise what receive() raises."""
    async with Ear(fabric, 7) as ear:
        await asyncio.to_thread(breaks)
        await ear.until(lambda: False, 20)


async def sending_on(send):
    """Send until that raises."""
    for count in range(100):
        await send(number(count))
        await asyncio.sleep(0.01)


async def test_a_server_that_no_longer_answers_ends_receiving(server, way, quick):
    with pytest.raises((TimeoutError, asyncio.TimeoutError)):
        await ending(
            NatsFabric(server.url, {}), lambda: os.kill(server.process.pid, signal.SIGSTOP)
        )


async def test_a_server_that_ends_ends_receiving_and_sending(server, way, caplog):
    fabric = NatsFabric(server.url, {})
    async with carrier_of(fabric) as send:
        await send(number(0))
        with pytest.raises(Exception, match=ENDED):
            await ending(fabric, server.kill)
        with pytest.raises(Exception, match=ENDED):
            await sending_on(send)
    assert caplog.messages == []


async def test_a_server_that_does_not_answer_a_carrier_is_noticed(server, way, quick, monkeypatch):
    everywhere(monkeypatch, TRUST_S=0.0)
    async with carrier_of(NatsFabric(server.url, {})) as send:
        await send(number(0))
        os.kill(server.process.pid, signal.SIGSTOP)
        with pytest.raises((TimeoutError, asyncio.TimeoutError)):
            await sending_on(send)


async def test_a_carrier_waits_for_no_answer_while_it_trusts_its_connection(server, way):
    async with carrier_of(NatsFabric(server.url, {})) as send:
        await send(number(0))
        os.kill(server.process.pid, signal.SIGSTOP)
        began = time.monotonic()
        await send(number(1))
        assert time.monotonic() - began < 0.5


async def test_a_carrier_that_was_idle_connects_again_and_loses_nothing(server, way, monkeypatch):
    everywhere(monkeypatch, IDLE_S=0.0)
    fabric = NatsFabric(server.url, {})
    async with carrier_of(fabric) as send:
        await send(number(0))
        await asyncio.to_thread(server.restart)
        async with Ear(fabric) as ear:
            await send(number(1))
            await ear.hears(*messages(1))


async def test_another_server_of_the_list_is_used_and_a_hung_one_passed_over(server, way, quick):
    with Nats() as other:
        fabric = NatsFabric([server.url, other.url, AT_NONE], {})
        os.kill(server.process.pid, signal.SIGSTOP)
        for _ in range(5):
            async with carrier_of(fabric) as send, Ear(fabric) as ear:
                await send(number(1))
                await ear.hears(*messages(1))


async def test_what_is_sent_to_one_server_of_a_cluster_is_received_from_another(way):
    with NatsCluster() as cluster:
        one, other = (NatsFabric(url, {}) for url in cluster.urls[:2])
        async with carrier_of(one) as send, Ear(other, 7) as ear:
            for count in range(200):
                # Its interest reaches the other servers after its own has answered.
                await send(number(count, channel=7))
                if ear.messages:
                    break
                await asyncio.sleep(0.01)
            await ear.until(lambda: ear.messages)


async def test_a_process_that_is_too_slow_is_disconnected_by_the_server(way):
    config = "write_deadline: 100ms\nmax_pending: 1048576\n"
    with Nats(config=config) as server:
        fabric = NatsFabric(server.url, {})
        carrier, big = fabric.carrier(), Parcel(7, {"x": "y" * 60_000})
        with ThreadPoolExecutor(1) as thread:
            async with Ear(fabric, 7) as ear:
                # The loop waits. Nothing that it has read is dropped: only the server can lose
                # messages, and it ends the connection then.
                thread.submit(carrier.send, [big] * 500).result()
                await until(ear.task.done)
            assert re.search(ENDED, str(ear.task.exception()))
            assert len(ear.messages) < 500
            thread.submit(carrier.close).result()


# Access ----------------------------------------------------------------------------------

ACCOUNTS = """
authorization {
  users = [
    {user: app, password: secret, permissions: {publish: "eric_sse.>", subscribe: "eric_sse.>"}}
    {user: other, password: secret, permissions: {publish: "b.>", subscribe: "b.>"}}
  ]
}
"""


async def test_a_user_with_the_permissions_of_the_docs_may_do_all(way, caplog):
    with Nats(config=ACCOUNTS) as server:
        fabric = NatsFabric(server.url, {"user": "app", "password": "secret"})
        assert await asyncio.to_thread(fabric.probe)
        async with carrier_of(fabric) as send, Ear(fabric, 7) as ear:
            await send(number(1, channel=7), number(2))
            await ear.hears(*messages(1, 2))
        # Or in the address.
        at = server.url.replace("//", "//app:secret@")
        assert await asyncio.to_thread(NatsFabric(at, {}).probe)


@pytest.mark.parametrize("password", ["secret", "wrong"])
async def test_what_is_not_permitted_is_an_error_that_shows_no_password(way, password, caplog):
    with Nats(config=ACCOUNTS) as server:
        fabric = NatsFabric(server.url, {"user": "other", "password": password})
        expected = "(?i)permissions violation" if password == "secret" else "(?i)authorization"
        with pytest.raises(Exception, match=expected) as caught:
            await asyncio.to_thread(fabric.probe)
        assert password not in str(caught.value)
        with pytest.raises(Exception, match=expected):
            await ending(fabric, print)
        async with carrier_of(fabric) as send:
            with pytest.raises(Exception, match=expected):
                await send(number(1))  # not a later one: then the outage seems to end between them
    assert caplog.messages == []


class TlsNats(Nats):
    """With a self-signed certificate; before the first byte, or after the server's greeting."""

    def __init__(self, first):
        super().__init__()
        self.first = first

    def prepare(self):
        super().prepare()
        certificate, key = certificates.make(self.directory)
        (self.directory / "nats.conf").write_text(
            f'tls {{\n  cert_file: "{certificate}"\n  key_file: "{key}"\n'
            f"  handshake_first: {str(self.first).lower()}\n}}\n"
        )

    def is_ready(self):
        return not is_free(self.port)


@pytest.mark.parametrize("first", [True, False])
async def test_tls_is_used_with_a_private_authority(way, first):
    with TlsNats(first) as server:
        at = server.url.replace("nats:", "tls:")
        context = ssl.create_default_context(cafile=str(server.directory / "certificate.pem"))
        fabric = NatsFabric(at, {"tls": context, "tls_handshake_first": first})
        async with carrier_of(fabric) as send, Ear(fabric, 7) as ear:
            await send(number(1, channel=7))
            await ear.hears(*messages(1))
        stranger = NatsFabric(at, {"tls_handshake_first": first})
        with pytest.raises(ssl.SSLError):
            await asyncio.to_thread(stranger.probe)


class NatsOfTheDocs(TlsNats):
    """With the configuration of docs/deployment.md, at other addresses."""

    def prepare(self):
        super().prepare()
        text = (Path(__file__).parents[2] / "docs" / "deployment.md").read_text()
        [config] = re.findall(r"```\n(server_name: .*?)```", text, re.DOTALL)
        for old, new in {
            "/etc/nats/nats-1.pem": str(self.directory / "certificate.pem"),
            "/etc/nats/nats-1.key": str(self.directory / "key.pem"),
            "0.0.0.0:6222": f"127.0.0.1:{free_port()}",
            "@10.0.0.": "@127.0.0.",  # nobody is there
        }.items():
            assert old in config
            config = config.replace(old, new)
        (self.directory / "nats.conf").write_text(config)


async def test_the_configuration_of_the_docs_works(way, monkeypatch):
    monkeypatch.setenv("SHOP_PASSWORD", "password1")
    monkeypatch.setenv("ROUTE_PASSWORD", "secret")
    with NatsOfTheDocs(first=True) as server:
        context = ssl.create_default_context(cafile=str(server.directory / "certificate.pem"))
        options = {"user": "shop", "password": "password1"}
        options |= {"tls": context, "tls_handshake_first": True}
        fabric = NatsFabric(server.url.replace("nats:", "tls:"), options)
        assert await asyncio.to_thread(fabric.probe)
        async with carrier_of(fabric) as send, Ear(fabric, 7) as ear:
            await send(number(1, channel=7), number(2))
            await ear.hears(*messages(1, 2))


@pytest.mark.parametrize(
    ("scheme", "options"),
    [
        ("tls", {}),
        ("nats", {"tls": ssl.create_default_context()}),
        ("nats", {"tls_hostname": "localhost"}),
    ],
    ids=["address", "context", "name"],
)
async def test_a_project_that_asks_for_encryption_gets_it_or_an_error(
    server, way, scheme, options
):
    fabric = NatsFabric(server.url.replace("nats:", f"{scheme}:"), {"token": "secret", **options})
    with pytest.raises(ConnectionError, match="does not encrypt"):
        await asyncio.to_thread(fabric.probe)
    with pytest.raises(ConnectionError, match="does not encrypt"):
        await fabric.receiver().receive(print, print)


async def test_a_token_is_sent_as_by_its_client(way):
    with Nats(config="authorization { token: secret }") as server:
        for url, options in (
            (server.url, {"token": "secret"}),
            (server.url.replace("//", "//secret@"), {}),
        ):
            assert await asyncio.to_thread(NatsFabric(url, options).probe)


async def test_a_client_with_a_key_uses_nats_py():
    key = nkeys.from_seed(nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER))
    users = f"authorization {{ users = [{{ nkey: {key.public_key.decode()} }}] }}"
    with Nats(config=users) as server:
        fabric = NatsFabric(server.url, {"nkeys_seed_str": key.seed.decode()})
        assert await asyncio.to_thread(fabric.probe)
        async with carrier_of(fabric) as send, Ear(fabric, 7) as ear:
            await send(number(1, channel=7))
            await ear.hears(*messages(1))
        with pytest.raises(Exception, match=r"(?i)authorization"):
            await asyncio.to_thread(NatsFabric(server.url, {}).probe)


# Publishing on a socket -----------------------------------------------------------------


async def test_a_server_that_is_no_nats_is_an_error(redis_server, quick):
    fabric = NatsFabric(f"nats://127.0.0.1:{redis_server.port}", {})
    with pytest.raises(OSError, match="timed out"):  # Redis waits for a command
        await asyncio.to_thread(fabric.probe)
    with socket.create_server(("127.0.0.1", 0)) as other, ThreadPoolExecutor(1) as thread:
        port = other.getsockname()[1]
        probe = thread.submit(NatsFabric(f"nats://127.0.0.1:{port}", {}).probe)
        client, _ = other.accept()
        with client:
            client.sendall(b"220 mail.example.com ESMTP\r\n")
            with pytest.raises(ConnectionError, match="no NATS"):
                probe.result(5)


async def test_a_message_that_is_too_long_for_the_server_is_an_error():
    with Nats(config="max_payload: 1024") as server:
        fabric = NatsFabric(server.url, {})
        async with carrier_of(fabric) as send, Ear(fabric) as ear:
            with pytest.raises(OSError, match="too long"):
                await send(number(0), Parcel(None, {"x": "y" * 2_000}))
            await send(number(1))  # over another connection
            await ear.hears(*messages(1))


async def test_pings_of_the_server_are_answered_between_messages():
    with Nats(config='ping_interval: "200ms"\nping_max: 4') as server:  # so 1 s may pass
        fabric = NatsFabric(server.url, {})
        carrier = fabric.carrier()
        links, until = set(), time.monotonic() + 1.5
        while time.monotonic() < until:
            await asyncio.to_thread(carrier.send, [number(0)])
            links.add(carrier._link)
            await asyncio.sleep(0.05)
        assert len(links) == 1
        carrier.close()


class Rude:
    """A server that greets, reads the first message, and then only writes: `part`, forever."""

    def __init__(self, part):
        self._part, self.may_write = part, threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"nats://127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        client, _ = self._listening.accept()
        with client, contextlib.suppress(OSError):
            client.sendall(b'INFO {"max_payload": 1048576}\r\n')
            for _ in range(2):  # after CONNECT, and after the first message
                read = b""
                while not read.endswith(b"PING\r\n"):
                    read += client.recv(4_096)
                client.sendall(b"PONG\r\n")
            self.may_write.wait()
            while True:
                client.sendall(self._part)

    def close(self):
        self._listening.close()
        self._thread.join(5)


@pytest.mark.parametrize("part", [b"PING\r\n", b"x" * 65_536, b"+OK\r\n" * 10_000])
async def test_a_publisher_does_not_wait_for_a_server_that_only_writes(part):
    server = Rude(part)
    carrier = NatsFabric(server.url, {}).carrier()
    carrier.send([number(0)])
    server.may_write.set()
    big = Parcel(None, {"x": "y" * 30_000})
    until = time.monotonic() + 10
    longest = 0.0
    is_sent = True
    while is_sent:
        began = time.monotonic()
        assert began < until
        is_sent = carrier.send_at_once([big])
        longest = max(longest, time.monotonic() - began)
    assert longest < 0.9  # LAYER_TIMEOUT_S is a second
    server.close()


# Settings -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "options", "problem"),
    [
        (None, {}, "LOCATION"),
        ([], {}, "LOCATION"),
        ("redis://a:1", {}, "LOCATION"),
        ("10.0.0.1:4222", {}, "LOCATION"),
        ("nats://", {}, "LOCATION"),
        ("nats://a:x", {}, "LOCATION"),
        (["nats://a", "ws://b"], {}, "LOCATION"),
        ([AT, 7], {}, r"LOCATION\[1\]"),
        (AT, {"tls": True}, "tls"),
        (AT, [], "OPTIONS must be a dict"),
        (AT, {"error_cb": print, "tsl": 1}, "OPTIONS may not have error_cb, tsl"),
        (AT, {"namespace": "a b"}, "namespace"),
        (AT, {"namespace": "a.>"}, "namespace"),
        (AT, {"namespace": ""}, "namespace"),
        (AT, {"namespace": None}, "namespace"),
    ],
)
def test_what_cannot_work_is_refused(settings, location, options, problem):
    assert re.search(problem, problem_of(location, options))
    with pytest.raises(ImproperlyConfigured, match=problem):
        NatsFabric(location, options)
    fabric = {"BACKEND": BACKEND, "LOCATION": location, "OPTIONS": options}
    settings.ERIC_SSE = {"FABRIC": fabric}
    found = [*checks.check_settings(), *checks.check_fabric()]
    assert [each.id for each in found] in (["eric_sse_django.E003"], ["eric_sse_django.E022"])


@pytest.mark.parametrize(
    ("location", "options"),
    [
        (AT, {}),
        ("tls://nats.example.com", {"tls": ssl.create_default_context(), "user": "a"}),
        ((AT, "nats://[::1]:4222"), {"namespace": "shop.events-2", "token": "x"}),
    ],
)
def test_what_can_work_is_taken(settings, location, options):
    settings.ERIC_SSE = {"FABRIC": {"BACKEND": BACKEND, "LOCATION": location, "OPTIONS": options}}
    assert [*checks.check_settings(), *checks.check_fabric()] == []


@pytest.mark.parametrize("package", ["nats", "nkeys"])
def test_a_package_is_missing_only_where_it_is_needed(monkeypatch, settings, package):
    find = fabric_module.find_spec
    absent = {package: None}
    monkeypatch.setattr(
        fabric_module, "find_spec", lambda name: absent.get(name, find) and find(name)
    )
    fabric = {"BACKEND": BACKEND, "LOCATION": AT, "OPTIONS": {"user": "a", "password": "b"}}
    settings.ERIC_SSE = {"FABRIC": fabric}
    assert checks.check_fabric() == []
    fabric["OPTIONS"] = {"user_credentials": "/etc/nats/site.creds"}
    [error] = checks.check_fabric()
    assert f"needs {package}: pip install 'eric-sse-django[nats]'" in error.msg


def test_no_check_shows_a_password(settings):
    location = "redis://app:secret@a"
    settings.ERIC_SSE = {"FABRIC": {"BACKEND": BACKEND, "LOCATION": location, "X": 1}}
    found = [*checks.check_settings(), *checks.check_fabric()]
    settings.ERIC_SSE["FABRIC"].pop("X")
    found += checks.check_fabric()
    assert len(found) == 2
    assert "secret" not in str(found)


def test_a_process_that_only_publishes_does_not_import_its_client(nats_server):
    code = (
        "import sys, django; from django.conf import settings; settings.configure();"
        "from eric_sse_django.wakes.nats import NatsFabric;"
        f"fabric = NatsFabric({nats_server.url!r}, {{}}); fabric.carrier().close();"
        "fabric.probe(); assert 'nats' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


async def test_its_client_logs_nothing(fabric, caplog):
    with caplog.at_level(logging.DEBUG, logger="nats"):
        async with Ear(fabric, 7):
            pass
    assert caplog.messages == []
