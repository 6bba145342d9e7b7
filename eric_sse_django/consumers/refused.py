"""A request that gets a plain answer instead of a stream."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from django.conf import settings

from eric_sse_django.consumers.request import StreamRequest

logger = logging.getLogger(__name__)

METHODS = b"GET, HEAD, OPTIONS"
# Bytes of path, query and headers (with HEADER_BYTES for each), as h11 allows; httptools,
# uvicorn's faster parser, allows any number, and a stream would keep them while it is open.
MAX_HEAD_BYTES = 65_536


class Refused(Exception):
    """
    The status, text and headers of the answer.

    `reason` is for the server's log alone: it may say what the client is not to know.
    """

    def __init__(
        self,
        status: int,
        text: str = "",
        headers: Iterable[tuple[bytes, bytes]] = (),
        reason: str | None = None,
    ) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text
        self.headers = list(headers)
        self.reason = reason

    def log(self, request: StreamRequest) -> None:
        """Write the reason, if there is one, to the server's log; with DEBUG as a warning."""
        if self.reason is not None:
            level = logging.WARNING if settings.DEBUG else logging.INFO
            # %r: a path may have line breaks in it, and forge lines of the log.
            logger.log(
                level,
                "stream refused path=%.200r status=%d reason=%s",
                *(request.path, self.status, self.reason),
            )


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
