"""A request for a stream: what it contains, and the refusals that need no database."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs

from django.conf import settings

from eric_sse_django import conf

logger = logging.getLogger(__name__)

METHODS = b"GET, HEAD, OPTIONS"
# Bytes of path, query and headers, as h11 allows. httptools, uvicorn's faster parser, allows any
# number, and a stream would keep them while it is open.
MAX_HEAD_BYTES = 65_536
# Bytes that each header counts beside its own, as in HTTP/2 (RFC 9113 6.5.2): 60,000 empty
# ones took 47 ms of the loop.
HEADER_BYTES = 32
# Bytes and fields of a query that are parsed, before the client is known: 0.3 ms at most.
# More bytes if one stream may serve more than 16 channels: 512 for each.
MAX_QUERY_BYTES, MAX_TICKET_BYTES = 8_192, 512
MAX_QUERY_FIELDS = 500
# Bytes of a cookie that browsers keep.
MAX_COOKIE_BYTES = 4_096
# Characters of `Accept` that are read: browsers send about 100.
MAX_ACCEPT = 2_048
ACCEPTED = {"text/event-stream", "text/*", "*/*"}
# Digits of the largest position that a database column holds.
POSITION_DIGITS = 19
# Query fields of clients that cannot set the header, the latest first: a client that reconnects
# adds its own to a URL which has the page's `last_event_id` already.
# event-source-polyfill sends the first, clients of Mercure the next two.
ID_FIELDS = ("lastEventId", "lastEventID", "Last-Event-ID", "last_event_id")

# The ids of a channel and of one of its listeners; None for the listener to watch the channel.
Ids = tuple[str, "str | None"]


class StreamRequest:
    """
    The request of an ASGI scope. An unusable value is ignored; only ids() refuses one.

    `headers` has the values by lower-case name; those after MAX_HEAD_BYTES are left out.
    """

    __slots__ = (
        "_fields",
        "_in_path",
        "has_large_head",
        "has_large_query",
        "headers",
        "method",
        "path",
        "scope",
        "session",
        "user",
    )

    def __init__(self, scope: Any, ids: Ids | None = None) -> None:
        """`ids` are those of the path; if None, those that an URLRouter of Channels found."""
        self.scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        # From a middleware of the project's, if there is one.
        self.user: Any = scope.get("user")
        self.session: Any = scope.get("session")
        self._in_path = ids
        if ids is None and "channel_id" in (found := scope.get("url_route", {}).get("kwargs", {})):
            self._in_path = found["channel_id"], found.get("listener_id")
        self._fields: dict[str, list[str]] | None = None
        query = scope.get("query_string", b"")
        self.has_large_query = query.count(b"&") >= MAX_QUERY_FIELDS or (
            len(query) > MAX_QUERY_BYTES
            and len(query) > MAX_TICKET_BYTES * conf.get("MAX_CHANNELS_PER_STREAM")
        )
        self.headers: dict[bytes, list[bytes]] = {}
        size = len(self.path) + len(query)
        for name, value in scope["headers"]:
            size += HEADER_BYTES + len(name) + len(value)
            if size > MAX_HEAD_BYTES:
                break
            self.headers.setdefault(name.lower(), []).append(value)
        self.has_large_head = size > MAX_HEAD_BYTES

    def ids(self) -> list[Ids]:
        """
        Return the ids of the channels to serve, each with the listener's, None to watch.

        From the path; else from the query, `?channel=a&channel=b&listener=x`: one listener id is
        for all channels, several are for one channel each, and an empty one watches. Raises
        Refused for a query without such pairs.
        """
        if self._in_path is not None:
            return [self._in_path]
        channels, listeners = self.query("channel"), self.query("listener")
        if not channels or not all(channels):
            raise Refused(400, "Name what to stream: ?channel=<id>, once for each channel.\n")
        if len(channels) > conf.get("MAX_CHANNELS_PER_STREAM"):
            raise Refused(400, f"{len(channels)} channels are too many for one stream.\n")
        if len(set(channels)) < len(channels):
            raise Refused(400, "A channel is named twice.\n")
        if len(listeners) not in (0, 1, len(channels)):
            raise Refused(400, "Send `listener` once, or as often as `channel`.\n")
        if len(listeners) < len(channels):
            listeners = (listeners or [""]) * len(channels)
        return [(one, other or None) for one, other in zip(channels, listeners, strict=True)]

    def name(self, ids: Ids) -> None:
        """Let it be for these ids, whatever its path names."""
        self._in_path = ids

    def session_key(self) -> str | None:
        """
        Return the value of the session's cookie, None without a usable one.

        Other cookies are not parsed: Django's parser takes 9 s for 64 KiB of backslashes on
        Pythons without the fix of CVE-2024-7592; no session key contains any.
        """
        pairs = self.header(b"cookie", b";")
        if pairs is None:
            return None
        name, value = re.escape(settings.SESSION_COOKIE_NAME), None
        for found in re.finditer(rf"(?:^|;)[ \t]*{name}[ \t]*=([^;]*)", pairs):
            value = found[1].strip()  # as in Django, the last one counts
        if value is None or len(value) > MAX_COOKIE_BYTES:
            return None
        return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value

    def accepts_streams(self) -> bool:
        """Return whether `Accept` includes text/event-stream, or is missing."""
        accept = self.header(b"accept")
        if accept is None:
            return True
        for media_range in accept[:MAX_ACCEPT].split(","):
            if media_range.partition(";")[0].strip().lower() in ACCEPTED:
                return True
        return False

    def is_event_source(self) -> bool:
        """
        Return whether the client is a browser's EventSource, which needs a blank line after an id.

        It sends "no-cache": its cache mode is "no-store" (WHATWG 9.2.2, Fetch 4.6). Without that
        it is a client made with fetch() or httpx, which reads an event at each blank line.
        """
        caching = [*self.headers.get(b"cache-control", ()), *self.headers.get(b"pragma", ())]
        return b"no-cache" in b",".join(caching).lower()

    def last_event_id(self) -> int | None:
        """
        Return the position that the client sends, None without a usable one.

        The header counts before the query: a browser that reconnects by itself sends it, with
        the URL of the first request.
        """
        found = _position_in(self.header(b"last-event-id") or "")
        if found is None:
            for text in [text for name in ID_FIELDS for text in self.query(name)]:
                found = _position_in(text) if found is None else found
        return found

    def query(self, name: str) -> list[str]:
        """Return the values of a query field; none if the query is too large."""
        if self._fields is None:
            text = self.scope.get("query_string", b"").decode("ascii", "replace")
            self._fields = {} if self.has_large_query else parse_qs(text, keep_blank_values=True)
        return self._fields.get(name, [])

    def header(self, name: bytes, between: bytes = b",") -> str | None:
        """Return a header's value, or its values joined; HTTP/2 sends a cookie in several."""
        found = self.headers.get(name)
        return None if found is None else between.join(found).decode("latin-1")

    def release(self) -> None:
        """Drop what was parsed: else it is kept while the stream is open."""
        self._fields, self.headers = {}, {}


def _position_in(text: str) -> int | None:
    """Return the number in a text, None if it is not one; the lowest or highest if too long."""
    text = text.strip()
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        return None
    sign = -1 if text.startswith("-") else 1
    return sign * int(digits) if len(digits) <= POSITION_DIGITS else sign * 2**63


class Refused(Exception):
    """
    A request that gets a plain response instead of a stream: its status, text and headers.

    `reason` is only for the server's log: it may contain what the client must not learn.
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
        """Log the reason, if there is one; with DEBUG as a warning."""
        if self.reason is not None:
            level = logging.WARNING if settings.DEBUG else logging.INFO
            # %r: a path may contain line breaks, and forge lines of the log.
            logger.log(
                level,
                "stream refused path=%.200r status=%d reason=%s",
                *(request.path, self.status, self.reason),
            )


def check_size(request: StreamRequest) -> None:
    """Raise Refused for a request whose head or query is too large to be read."""
    if request.has_large_head:
        raise Refused(431, f"Path and headers take more than {MAX_HEAD_BYTES} bytes.\n")
    if request.has_large_query:
        raise Refused(414, "The query has too many bytes or fields.\n")


def check_method(request: StreamRequest) -> None:
    """Raise Refused for a method or a media type that a stream cannot answer."""
    if request.method == "OPTIONS":
        raise Refused(204, headers=[(b"allow", METHODS)])
    if request.method not in ("GET", "HEAD"):
        raise Refused(405, "Open a stream with GET.\n", [(b"allow", METHODS)])
    if not request.accepts_streams():
        raise Refused(406, "Streams are text/event-stream: accept that.\n")
