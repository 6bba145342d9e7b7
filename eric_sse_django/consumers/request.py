"""What a request for a stream says."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from django.http import parse_cookie

# Digits of the largest position a database column holds.
POSITION_DIGITS = 19


class StreamRequest:
    """An ASGI scope, read. Nothing in it can raise: what makes no sense counts as absent."""

    def __init__(self, scope: Any) -> None:
        ids = scope.get("url_route", {}).get("kwargs", {})
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.channel_id: str = ids.get("channel_id", "")
        self.listener_id: str | None = ids.get("listener_id")
        self.user: Any = scope.get("user")  # where a middleware of the project's has found it
        self._scope = scope

    @property
    def ticket(self) -> str | None:
        return self.query("ticket")[-1] if self.query("ticket") else None

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

    def query(self, name: str) -> list[str]:
        text = self._scope.get("query_string", b"").decode("ascii", "replace")
        return parse_qs(text).get(name, [])

    def header(self, name: bytes, between: str = ",") -> str | None:
        """Return a header's value, or its values joined; HTTP/2 sends a cookie in several."""
        found = [value for key, value in self._scope["headers"] if key.lower() == name]
        return between.join(value.decode("latin-1") for value in found) if found else None
