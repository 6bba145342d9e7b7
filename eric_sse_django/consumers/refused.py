"""A request that gets a plain answer instead of a stream."""

from __future__ import annotations

from collections.abc import Iterable

from eric_sse_django.consumers.request import StreamRequest

METHODS = b"GET, HEAD, OPTIONS"
# Bytes of path, query and headers, as h11 allows; httptools, uvicorn's faster parser, allows
# any number, and a stream would keep them as long as it is open.
MAX_HEAD_BYTES = 65_536


class Refused(Exception):
    """The status, text and headers of the answer."""

    def __init__(
        self, status: int, text: str = "", headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text
        self.headers = list(headers)


def check_size(request: StreamRequest) -> None:
    """Raise Refused for a request whose head or query is larger than is looked at."""
    if request.head_bytes() > MAX_HEAD_BYTES:
        raise Refused(431, f"Path and headers take more than {MAX_HEAD_BYTES} bytes.\n")
    if request.has_large_query():
        raise Refused(414, "The query has too many bytes or fields.\n")


def check(request: StreamRequest) -> None:
    """Raise Refused for what cannot be answered by a stream, whoever asks."""
    if request.method == "OPTIONS":
        raise Refused(204, headers=[(b"allow", METHODS)])
    if request.method not in ("GET", "HEAD"):
        raise Refused(405, "Open a stream with GET.\n", [(b"allow", METHODS)])
    if not request.accepts_streams():
        raise Refused(406, "Streams are text/event-stream: accept that.\n")
