"""The benchmarks' client parses events by the HTML standard's rules, in pieces of any size."""

import pytest

from benchmarks.events import Event, EventParser
from tests.chunked import ChunkedDecoder

STREAMS = {
    "fields": (b"id: 7\nevent: tick\ndata: a\n\n", [Event(b"7", b"tick", b"a")]),
    "several lines of data": (b"data: a\ndata:b\n\n", [Event(b"", b"", b"a\nb")]),
    "one space is left out": (b"data:  a\n\n", [Event(b"", b"", b" a")]),
    "carriage returns": (b"data: a\r\ndata: b\r\n\r\n", [Event(b"", b"", b"a\nb")]),
    "an empty line with another end": (b"data: a\r\n\n", [Event(b"", b"", b"a")]),
    "only carriage returns": (
        b"data: a\r\rdata: b\r\r",
        [Event(b"", b"", b"a"), Event(b"", b"", b"b")],
    ),
    "comments": (b": ok\n\ndata: a\n: b\n\n", [Event(b"", b"", b"a")]),
    "no data": (b"event: tick\n\n\n\ndata: a\n\n", [Event(b"", b"", b"a")]),
    "the last one is not complete": (b"data: a\n\ndata: b\n", [Event(b"", b"", b"a")]),
}


@pytest.mark.parametrize("size", [1, 2, 3, 1_000])
@pytest.mark.parametrize(("stream", "events"), STREAMS.values(), ids=STREAMS)
def test_a_stream_has_the_events_of_the_standard(stream, events, size):
    parser, found = EventParser(), []
    for start in range(0, len(stream), size):
        found += parser.feed(stream[start : start + size])
    assert found == events


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1_000])
def test_a_chunked_body_is_the_same_however_it_is_cut(size):
    body = b"3\r\nabc\r\n5;name=value\r\nde\r\nf\r\n0\r\n\r\n"
    decoder, found = ChunkedDecoder(), b""
    for start in range(0, len(body), size):
        found += decoder.feed(body[start : start + size])
    assert found == b"abcde\r\nf"
    assert decoder.complete


def test_a_chunk_without_its_end_is_an_error():
    with pytest.raises(ValueError, match="instead of CRLF"):
        ChunkedDecoder().feed(b"3\r\nabcdef\r\n")
