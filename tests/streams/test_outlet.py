"""Where bytes leave: waiting on Daphne, cutting a connection where the server lets us."""

import asyncio
import socket
from functools import partial

import pytest
from channels.sessions import InstanceSessionWrapper

from eric_sse_django.streaming.outlet import Outlet, _unwrapped


class Transport:
    aborted = False

    def abortConnection(self):
        self.aborted = True


class TwistedRequest:
    """What Daphne hands to its send(), as far as the outlet knows it."""

    def __init__(self):
        self.producer = None
        self.channel = self
        self.transport = Transport()
        self.written = []

    def registerProducer(self, producer, streaming):
        assert self.producer is None
        assert streaming
        self.producer = producer

    def unregisterProducer(self):
        self.producer = None


async def handle_reply(request, message):
    assert message["more_body"] or request.producer is None, "Twisted complains of a producer left"
    request.written.append(message["body"])


async def test_daphne_waits_while_the_client_takes_no_more():
    request = TwistedRequest()
    outlet = Outlet(partial(handle_reply, request))
    await outlet.write(b"1", True)
    request.producer.pauseProducing()
    second = asyncio.create_task(outlet.write(b"2", True))
    for _ in range(3):
        await asyncio.sleep(0)
    assert request.written == [b"1"]
    assert not second.done()
    request.producer.resumeProducing()
    await asyncio.wait_for(second, 1)
    await outlet.write(b"", False)
    assert request.written == [b"1", b"2", b""]
    assert request.producer is None


class DaphneRequest(TwistedRequest):
    """As the server's own class: the outlet knows it by its module."""

    def write(self, chunk):
        self.written.append(chunk)
        if chunk == b"all it takes":
            self.producer.pauseProducing()


class UvicornCycle:
    """uvicorn's send(), as the outlet knows it: it waits before it writes, if at all."""

    def __init__(self):
        self.written = []
        self.writable = asyncio.Event()
        self.writable.set()

    async def send(self, message):
        await self.writable.wait()
        self.written.append(message["body"])


DaphneRequest.__module__ = "daphne.http_protocol"
UvicornCycle.__module__ = "uvicorn.protocols.http.httptools_impl"


async def test_daphne_is_written_to_at_once_unless_its_client_takes_no_more():
    request = DaphneRequest()
    outlet = Outlet(partial(handle_reply, request))
    await outlet.write(b"1", True)
    assert outlet.write_at_once(b"2") is True
    request.producer.pauseProducing()
    assert outlet.write_at_once(b"3") is False
    request.producer.resumeProducing()
    assert outlet.write_at_once(b"all it takes") is True
    assert outlet.write_at_once(b"4") is False
    assert request.written == [b"1", b"2", b"all it takes"]


async def test_uvicorn_is_written_to_at_once_unless_its_client_takes_no_more():
    cycle = UvicornCycle()
    outlet = Outlet(cycle.send)
    await outlet.write(b"1", True)
    assert outlet.write_at_once(b"2") is True
    cycle.writable.clear()
    assert outlet.write_at_once(b"3") is False
    cycle.writable.set()
    await outlet.write(b"3", True)
    assert cycle.written == [b"1", b"2", b"3"]


async def test_nothing_is_written_at_once_before_the_first_bytes_or_after_the_last():
    cycle = UvicornCycle()
    outlet = Outlet(cycle.send)
    assert outlet.write_at_once(b"1") is None
    await outlet.write(b"1", True)
    await outlet.write(b"2", False)
    assert outlet.write_at_once(b"3") is None
    assert cycle.written == [b"1", b"2"]


async def test_nothing_is_written_at_once_through_a_middleware_or_to_another_server():
    cycle = UvicornCycle()

    async def send(message):  # a middleware's, or another server's
        await cycle.send(message)

    outlet = Outlet(send)
    await outlet.write(b"1", True)
    assert outlet.write_at_once(b"2") is None
    assert cycle.written == [b"1"]


async def test_nobody_waits_for_a_connection_that_is_gone():
    request = TwistedRequest()
    outlet = Outlet(partial(handle_reply, request))
    await outlet.write(b"1", True)
    request.producer.pauseProducing()
    second = asyncio.create_task(outlet.write(b"2", True))
    await asyncio.sleep(0)
    request.producer.stopProducing()
    await asyncio.wait_for(second, 1)
    request.channel = None
    del request.transport
    outlet.release()
    outlet.cut()


async def test_a_connection_is_cut_on_daphne_and_on_uvicorn():
    request = TwistedRequest()
    outlet = Outlet(partial(handle_reply, request))
    await outlet.write(b"1", True)
    outlet.cut()
    assert request.transport.aborted
    assert request.producer is None

    class Cycle:
        class transport:
            aborted = False

            @classmethod
            def abort(cls):
                cls.aborted = True

        async def send(self, message):
            pass

    cycle = Cycle()
    Outlet(cycle.send).cut()
    assert Cycle.transport.aborted


async def test_other_servers_need_nothing():
    sent = []

    async def send(message):
        sent.append(message["body"])

    outlet = Outlet(send)
    await outlet.write(b"1", True)
    outlet.cut()
    await outlet.write(b"", False)
    assert sent == [b"1", b""]


def test_the_servers_send_is_found_below_the_session_middleware():
    server_send = partial(handle_reply, TwistedRequest())
    scope = {"type": "http", "cookies": {}}
    wrapped = InstanceSessionWrapper(scope, server_send)
    assert _unwrapped(wrapped.send) is server_send
    again = InstanceSessionWrapper(scope, wrapped.send)
    assert _unwrapped(again.send) is server_send


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux has it")
@pytest.mark.parametrize("kind", ["asyncio", "twisted"])
async def test_a_client_whose_link_goes_dark_is_given_up_after_a_heartbeat(settings, kind):
    settings.ERIC_SSE = {"HEARTBEAT_S": 7}
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        transport = Transport()
        if kind == "asyncio":
            transport.get_extra_info = lambda name: client
        else:
            transport.getHandle = lambda: client

        class Cycle:
            async def send(self, message):
                pass

        Cycle.transport = transport
        await Outlet(Cycle().send).write(b"x", True)
        assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7_000
