"""Where bytes leave: waiting on Daphne, cutting a connection where the server lets us."""

import asyncio
import socket
from functools import partial

import pytest
from channels.sessions import InstanceSessionWrapper

from eric_sse_django.streaming import Response
from eric_sse_django.streaming.servers import link_of


class Transport:
    aborted = False

    def abortConnection(self):
        self.aborted = True


class AsyncioTransport:
    aborted = False

    def __init__(self, sock=None):
        self.sock = sock

    def abort(self):
        self.aborted = True

    def get_extra_info(self, name):
        return self.sock


class TwistedRequest:
    """What Daphne hands to its send(), as far as its link knows it."""

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
    body = Response(partial(handle_reply, request))
    await body.write(b"1", True)
    request.producer.pauseProducing()
    second = asyncio.create_task(body.write(b"2", True))
    for _ in range(3):
        await asyncio.sleep(0)
    assert request.written == [b"1"]
    assert not second.done()
    request.producer.resumeProducing()
    await asyncio.wait_for(second, 1)
    await body.write(b"", False)
    assert request.written == [b"1", b"2", b""]
    assert request.producer is None


class DaphneRequest(TwistedRequest):
    """As the server's own class: it is known by its module."""

    def write(self, chunk):
        self.written.append(chunk)
        if chunk == b"all it takes":
            self.producer.pauseProducing()


class UvicornCycle:
    """uvicorn's send(), as its link knows it: it waits before it writes, if at all."""

    transport = None

    def __init__(self):
        self.written = []
        self.writable = asyncio.Event()
        self.writable.set()

    async def receive(self):
        return {"type": "http.disconnect"}

    async def send(self, message):
        await self.writable.wait()
        self.written.append(message["body"])


DaphneRequest.__module__ = "daphne.http_protocol"
UvicornCycle.__module__ = "uvicorn.protocols.http.httptools_impl"


async def test_daphne_is_written_to_at_once_unless_its_client_takes_no_more():
    request = DaphneRequest()
    body = Response(partial(handle_reply, request))
    await body.write(b"1", True)
    assert body.at_once()(b"2") is True
    request.producer.pauseProducing()
    assert body.at_once()(b"3") is False
    request.producer.resumeProducing()
    assert body.at_once()(b"all it takes") is True
    assert body.at_once()(b"4") is False
    assert request.written == [b"1", b"2", b"all it takes"]


async def test_uvicorn_is_written_to_at_once_unless_its_client_takes_no_more():
    cycle = UvicornCycle()
    body = Response(cycle.send)
    await body.write(b"1", True)
    assert body.at_once()(b"2") is True
    cycle.writable.clear()
    assert body.at_once()(b"3") is False
    cycle.writable.set()
    await body.write(b"3", True)
    assert cycle.written == [b"1", b"2", b"3"]


async def test_nothing_is_written_at_once_before_the_first_bytes_or_after_the_last():
    cycle = UvicornCycle()
    body = Response(cycle.send)
    assert body.at_once() is None
    await body.write(b"1", True)
    await body.write(b"2", False)
    assert body.at_once() is None
    assert cycle.written == [b"1", b"2"]


async def test_nothing_is_written_at_once_through_a_middleware_or_to_another_server():
    cycle = UvicornCycle()

    async def send(message):  # a middleware's, or another server's
        await cycle.send(message)

    body = Response(send)
    await body.write(b"1", True)
    assert body.at_once() is None
    assert cycle.written == [b"1"]


async def test_a_write_does_not_wait_for_a_connection_that_is_closed():
    request = TwistedRequest()
    body = Response(partial(handle_reply, request))
    await body.write(b"1", True)
    request.producer.pauseProducing()
    second = asyncio.create_task(body.write(b"2", True))
    await asyncio.sleep(0)
    request.producer.stopProducing()
    await asyncio.wait_for(second, 1)
    request.channel = None
    del request.transport
    body.release()
    body.cut()


async def test_a_connection_is_cut_on_daphne_and_on_uvicorn():
    request = TwistedRequest()
    body = Response(partial(handle_reply, request))
    await body.write(b"1", True)
    body.cut()
    assert request.transport.aborted
    assert request.producer is None

    cycle = UvicornCycle()
    cycle.transport = AsyncioTransport()
    Response(cycle.send).cut()
    assert cycle.transport.aborted


async def test_other_servers_need_nothing():
    sent = []

    async def send(message):
        sent.append(message["body"])

    body = Response(send)
    await body.write(b"1", True)
    body.cut()
    await body.write(b"", False)
    assert sent == [b"1", b""]


def test_the_servers_send_is_found_below_the_session_middleware():
    server_send = partial(handle_reply, TwistedRequest())
    scope = {"type": "http", "cookies": {}}
    wrapped = InstanceSessionWrapper(scope, server_send)
    again = InstanceSessionWrapper(scope, wrapped.send)
    for send in (wrapped.send, again.send):
        link, is_direct = link_of(send)
        assert (link.server, is_direct) == ("Daphne", False)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux has it")
@pytest.mark.parametrize("kind", ["asyncio", "twisted", "twisted with TLS"])
@pytest.mark.parametrize(("heartbeat_s", "deadline_s"), [(7, 3), (3, 7)])
async def test_a_client_whose_link_goes_dark_is_given_up_after_heartbeat_and_deadline(
    settings, kind, heartbeat_s, deadline_s
):
    settings.ERIC_SSE = {"HEARTBEAT_S": heartbeat_s, "SEND_TIMEOUT_S": deadline_s}
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        if kind == "asyncio":
            cycle = UvicornCycle()
            cycle.transport = AsyncioTransport(client)
            send = cycle.send
        else:
            request = TwistedRequest()
            request.transport.getHandle = lambda: client
            if kind == "twisted with TLS":
                tls = Transport()
                tls.wrappedProtocol, tls.transport = object(), request.transport
                tls.getHandle = lambda: object()  # OpenSSL's: it has no descriptor
                request.transport = tls
            send = partial(handle_reply, request)
        await Response(send).write(b"x", True)
        assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 9_000
