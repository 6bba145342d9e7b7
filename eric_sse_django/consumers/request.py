"""What a request for a stream says."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs

from django.conf import settings

from eric_sse_django import conf

# Digits of the largest position a database column holds.
POSITION_DIGITS = 19
# What clients that cannot set the header put into the query, the latest first: a client that
# reconnects adds its own to a URL which has the page's `last_event_id` already.
# event-source-polyfill says the first, clients of Mercure the next two.
ID_FIELDS = ("lastEventId", "lastEventID", "Last-Event-ID", "last_event_id")
# Bytes and fields of a query that are parsed, before it is known who asks: 0.3 ms at most.
# The bytes are more where one stream may serve more than 16 channels: 512 for each.
MAX_QUERY_BYTES, MAX_TICKET_BYTES = 8_192, 512
MAX_QUERY_FIELDS = 500
# Bytes of a cookie that browsers keep.
MAX_COOKIE_BYTES = 4_096
# Characters of `Accept` that are read: browsers' have 100.
MAX_ACCEPT = 2_048
# Bytes that each header counts beside its own, as in HTTP/2 (RFC 9113 6.5.2): 60,000 empty
# ones took 47 ms of the loop.
HEADER_BYTES = 32


# The ids of a channel and of a listener of it, or None to watch.
Ids = tuple[str, "str | None"]


class StreamRequest:
    """An ASGI scope, read. Nothing in it can raise: what makes no sense counts as absent."""

    __slots__ = ("_fields", "_in_path", "_scope", "method", "path", "session", "user")

    def __init__(self, scope: Any, ids: Ids | None = None) -> None:
        """`ids` are those of its path; else a router's, in the scope, or none."""
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        # Where a middleware of the project's has found them.
        self.user: Any = scope.get("user")
        self.session: Any = scope.get("session")
        self._scope = scope
        self._in_path = ids or _routed(scope)
        self._fields: dict[str, list[str]] | None = None

    def ids(self) -> list[Ids]:
        """
        Return the ids of the channels to serve, each with the listener's, None to watch.

        They stand in the path; else in the query, `?channel=a&channel=b&listener=x`: one
        listener's id is for every channel, several are for theirs, and an empty one watches.
        Raises ValueError, with what is wrong, for a query that names no such pairs.
        """
        if self._in_path is not None:
            return [self._in_path]
        channels, listeners = self.query("channel"), self.query("listener")
        if not channels or not all(channels):
            raise ValueError("Name what to stream: ?channel=<id>, once for each channel.")
        if len(channels) > conf.get("MAX_CHANNELS_PER_STREAM"):
            raise ValueError(f"{len(channels)} channels are too many for one stream.")
        if len(set(channels)) < len(channels):
            raise ValueError("A channel is named twice.")
        if len(listeners) not in (0, 1, len(channels)):
            raise ValueError("Give `listener` once, or as often as `channel`.")
        of_each = listeners if len(listeners) == len(channels) else (listeners or [""])
        if len(of_each) < len(channels):
            of_each = of_each * len(channels)
        return [(one, of_it or None) for one, of_it in zip(channels, of_each, strict=True)]

    @property
    def session_key(self) -> str | None:
        """
        Return the value of the session's cookie, None without a usable one.

        It alone is looked for. Django's parser takes 9 s for 64 KiB of backslashes on Pythons
        without the fix of CVE-2024-7592; no session's key has any.
        """
        name = re.escape(settings.SESSION_COOKIE_NAME)
        pairs = self.header(b"cookie", ";") or ""
        value = None
        for found in re.finditer(rf"(?:^|;)[ \t]*{name}[ \t]*=([^;]*)", pairs):
            value = found[1].strip()  # as in Django, the last one counts
        if value is None or len(value) > MAX_COOKIE_BYTES:
            return None
        return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value

    @property
    def cookies(self) -> dict[str, str]:
        """Return the session's cookie by its name, {} without one."""
        key = self.session_key
        return {} if key is None else {settings.SESSION_COOKIE_NAME: key}

    def accepts_streams(self) -> bool:
        """Whether `Accept` has a place for text/event-stream; without one it has."""
        accept = self.header(b"accept")
        if accept is None:
            return True
        ranges = [part.split(";")[0].strip().lower() for part in accept[:MAX_ACCEPT].split(",")]
        return bool({"text/event-stream", "text/*", "*/*"} & set(ranges))

    def is_event_source(self) -> bool:
        """
        Whether it is a browser's EventSource, for which a blank line after an id is needed.

        It says "no-cache": its cache mode is "no-store" (WHATWG 9.2.2, Fetch 4.6). Without
        that it is a client made with fetch() or httpx, which reads an event at each blank line.
        """
        caching = f"{self.header(b'cache-control')},{self.header(b'pragma')}"
        return "no-cache" in caching.lower()

    def last_event_id(self) -> int | None:
        """
        Return the position the client names, None without a usable one.

        The header counts before the query: a browser that reconnects by itself sends it, with
        the URL of the first time.
        """
        in_query = (text for name in ID_FIELDS for text in self.query(name))
        for text in (self.header(b"last-event-id"), *in_query):
            digits = (text or "").strip().removeprefix("-")
            if digits.isascii() and digits.isdigit():
                sign = -1 if (text or "").strip().startswith("-") else 1
                return sign * int(digits) if len(digits) <= POSITION_DIGITS else sign * 2**63
        return None

    def head_bytes(self) -> int:
        """Return the bytes of its path, query and headers, HEADER_BYTES more for each."""
        headers = self._scope["headers"]
        lines = sum(len(name) + len(value) for name, value in headers)
        lines += HEADER_BYTES * len(headers)
        return lines + len(self._scope["path"]) + len(self._scope.get("query_string", b""))

    def has_large_query(self) -> bool:
        """Whether its query has more bytes or fields than are parsed."""
        text: bytes = self._scope.get("query_string", b"")
        most = max(MAX_QUERY_BYTES, MAX_TICKET_BYTES * conf.get("MAX_CHANNELS_PER_STREAM"))
        return len(text) > most or text.count(b"&") >= MAX_QUERY_FIELDS

    def query(self, name: str) -> list[str]:
        """Return the values of a field; none where the query is too large."""
        if self._fields is None:
            text = self._scope.get("query_string", b"").decode("ascii", "replace")
            large = self.has_large_query()
            self._fields = {} if large else parse_qs(text, keep_blank_values=True)
        return self._fields.get(name, [])

    def forget_query(self) -> None:
        """Drop what was parsed: it is read anew if it is asked for again."""
        self._fields = None

    def header(self, name: bytes, between: str = ",") -> str | None:
        """Return a header's value, or its values joined; HTTP/2 sends a cookie in several."""
        found = [value for key, value in self._scope["headers"] if key.lower() == name]
        return between.join(value.decode("latin-1") for value in found) if found else None


def _routed(scope: Any) -> Ids | None:
    """Return the ids that an URLRouter of Channels found in the path, if it did."""
    found = scope.get("url_route", {}).get("kwargs", {})
    return (found["channel_id"], found.get("listener_id")) if "channel_id" in found else None
