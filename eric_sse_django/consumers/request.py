"""What a request for a stream says."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from django.conf import settings
from django.http import parse_cookie

from eric_sse_django import conf

# Digits of the largest position a database column holds.
POSITION_DIGITS = 19


# The ids of a channel and of a listener of it, or None to watch.
Ids = tuple[str, "str | None"]


class StreamRequest:
    """An ASGI scope, read. Nothing in it can raise: what makes no sense counts as absent."""

    __slots__ = ("_in_path", "_scope", "method", "path", "user")

    def __init__(self, scope: Any, ids: Ids | None = None) -> None:
        """`ids` are those of its path; else a router's, in the scope, or none."""
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.user: Any = scope.get("user")  # where a middleware of the project's has found it
        self._scope = scope
        self._in_path = ids or _routed(scope)

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
        return self.cookies.get(settings.SESSION_COOKIE_NAME)

    @property
    def cookies(self) -> dict[str, str]:
        return parse_cookie(self.header(b"cookie", "; ") or "")

    def accepts_streams(self) -> bool:
        """Whether `Accept` has a place for text/event-stream; without one it has."""
        accept = self.header(b"accept")
        if accept is None:
            return True
        ranges = [part.split(";")[0].strip().lower() for part in accept.split(",")]
        return bool({"text/event-stream", "text/*", "*/*"} & set(ranges))

    def last_event_id(self) -> int | None:
        """
        Return the position the client names, None without a usable one.

        The header counts before `?last_event_id=`: the browser sends it when it comes
        back by itself, with the URL of the first time.
        """
        for text in (self.header(b"last-event-id"), *self.query("last_event_id")):
            digits = (text or "").strip().removeprefix("-")
            if digits.isascii() and digits.isdigit():
                sign = -1 if (text or "").strip().startswith("-") else 1
                return sign * int(digits) if len(digits) <= POSITION_DIGITS else sign * 2**63
        return None

    def head_bytes(self) -> int:
        """Return the bytes of its path, query and headers."""
        lines = sum(len(name) + len(value) for name, value in self._scope["headers"])
        return lines + len(self._scope["path"]) + len(self._scope.get("query_string", b""))

    def query(self, name: str) -> list[str]:
        text = self._scope.get("query_string", b"").decode("ascii", "replace")
        return parse_qs(text, keep_blank_values=True).get(name, [])

    def header(self, name: bytes, between: str = ",") -> str | None:
        """Return a header's value, or its values joined; HTTP/2 sends a cookie in several."""
        found = [value for key, value in self._scope["headers"] if key.lower() == name]
        return between.join(value.decode("latin-1") for value in found) if found else None


def _routed(scope: Any) -> Ids | None:
    """Return the ids that an URLRouter of Channels found in the path, if it did."""
    found = scope.get("url_route", {}).get("kwargs", {})
    return (found["channel_id"], found.get("listener_id")) if "channel_id" in found else None
