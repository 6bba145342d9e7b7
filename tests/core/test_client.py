"""The suite's own client against a server of a few lines: a judge has to be judged too."""

import asyncio
import contextlib

import pytest

from tests.chunked import ChunkedDecoder
from tests.client import StreamClient, StreamEnded
from tests.event_source import EventSourceClient
from tests.sse import Event

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@contextlib.asynccontextmanager
async def serving(*answers: bytes):
    """Give each connection the next of `answers`, then close it. Yields URL and requests."""
    requests = []

    async def answer(reader, writer):
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answers[min(len(requests), len(answers)) - 1])
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/a?b=c", requests


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_rfc_9112_7_1_a_chunked_body_may_come_in_any_pieces(size):
    raw = b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n2\r\n\r\n\r\n0\r\n\r\n"
    decoder = ChunkedDecoder()
    body = b"".join(decoder.feed(raw[at : at + size]) for at in range(0, len(raw), size))
    assert body == b"abc0123456789\r\n"
    assert decoder.complete


def test_rfc_9112_7_1_a_chunk_must_end_with_crlf():
    with pytest.raises(ValueError, match="instead of CRLF"):
        ChunkedDecoder().feed(b"3\r\nabcd\r\n")


def test_rfc_9112_8_a_body_without_last_chunk_is_incomplete():
    decoder = ChunkedDecoder()
    assert decoder.feed(b"3\r\nabc\r\n0\r\n") == b"abc"
    assert not decoder.complete


async def test_a_chunked_stream_gives_events_and_a_complete_end():
    async with serving(CHUNKED + b"9\r\ndata: a\n\n\r\n0\r\n\r\n") as (url, requests):
        async with await StreamClient.open(url, last_event_id="6") as client:
            assert [event async for event in client] == [Event("message", "a", "6")]
            assert (client.status, client.complete) == (200, True)
        assert requests[0].startswith(b"GET /a?b=c HTTP/1.1\r\n")
        assert b"Last-Event-ID: 6\r\n" in requests[0]


async def test_a_stream_that_is_cut_off_is_not_complete():
    async with (
        serving(CHUNKED + b"9\r\ndata: a\n\n\r\n") as (url, _),
        await StreamClient.open(url) as client,
    ):
        await client.event()
        with pytest.raises(StreamEnded, match="cut off"):
            await client.event()
        assert not client.complete


async def test_a_body_with_a_length_ends_there():
    answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"
    async with serving(answer) as (url, _), await StreamClient.open(url) as client:
        assert await client.read_to_end() == b"no"
        assert (client.status, client.complete) == (403, True)


async def test_silence_is_a_timeout():
    disconnected = asyncio.Event()

    async def stay_silent(reader, writer):
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()
        disconnected.set()

    async with await asyncio.start_server(stay_silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(asyncio.TimeoutError):
            await StreamClient.open(f"http://127.0.0.1:{port}/", timeout_s=0.02)
        await asyncio.wait_for(disconnected.wait(), 5)


async def test_event_source_reconnects_with_the_last_id_after_the_retry_time():
    first = CHUNKED + b"19\r\nretry: 10\nid: 7\ndata: a\n\n\r\n"
    second = CHUNKED + b"9\r\ndata: b\n\n\r\n0\r\n\r\n"
    stay_away = b"HTTP/1.1 204 No Content\r\n\r\n"
    async with serving(first, second, stay_away) as (url, requests):
        async with EventSourceClient(url) as source:
            await source.wait_closed()
        assert [record.event.data for record in source.records] == ["a", "b"]
        assert source.ids == ["7", "7"]
        assert [record.connection for record in source.records] == [0, 1]
        assert source.statuses == [200, 200, 204]
        assert b"Last-Event-ID" not in requests[0]
        assert all(b"Last-Event-ID: 7\r\n" in request for request in requests[1:])


async def test_event_source_gives_up_on_an_error_status():
    async with serving(b"HTTP/1.1 503 No\r\n\r\n") as (url, requests):
        async with EventSourceClient(url) as source:
            await source.wait_closed()
        assert source.statuses == [503]
        assert len(requests) == 1
