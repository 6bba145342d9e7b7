"""
Messages as text and bytes: what may be published, and what stands on the wire.

Does no I/O. "WHATWG" is https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import json
import re
from typing import Any

from eric_sse_django.exception import InvalidMessageFormat

# A comment line alone: it dispatches nothing, also in clients that take a blank
# line for an event (httpx-sse does once it has seen an id).
HEARTBEAT = b":\n"

# WHATWG 9.2.5: a line ends at CRLF, LF or CR; not at what str.splitlines() adds.
_LINE_END = re.compile("\r\n|\n|\r")
_NOT_IN_A_LINE = re.compile("[\r\n\0]")

# The separators leave no space to send; ASCII, so that every JSON string (a lone
# surrogate too) survives any database's and any client's encoding unchanged.
_JSON = json.JSONEncoder(allow_nan=False, separators=(",", ":"), ensure_ascii=True)

# Levels of lists and dicts: what one Python may nest, another (or this one, called from
# deeper down) may fail to read. 100 is where Ruby's JSON stops, PHP's stops at 512.
MAX_DEPTH = 100
_NO_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[^][{}"]+')
_INNERMOST = re.compile(r"\[\]|\{\}")


def json_text(payload: Any, max_bytes: int) -> str:
    """
    Return the payload as one line of ASCII JSON.

    Raises InvalidMessageFormat for what JSON cannot say (NaN, Infinity, objects
    of other types), for more than MAX_DEPTH levels and for more than `max_bytes` bytes.
    """
    try:
        text = _JSON.encode(payload)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidMessageFormat(
            f"its payload is no JSON value ({error}); publish dict, list, str, int, "
            "finite float, bool or None"
        ) from error
    if len(text) > max_bytes:
        raise InvalidMessageFormat(
            f"its payload takes {len(text)} bytes of JSON, {max_bytes} are allowed; publish a "
            "reference to it, or raise ERIC_SSE['MAX_MESSAGE_BYTES']"
        )
    if _is_deep(text):
        raise InvalidMessageFormat(
            f"its payload has more than {MAX_DEPTH} levels of lists and dicts; make it flatter"
        )
    return text


def _is_deep(text: str) -> bool:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    brackets = _NO_BRACKET.sub("", text)
    for _ in range(MAX_DEPTH):
        brackets = _INNERMOST.sub("", brackets)
        if not brackets:
            return False
    return True


def check_type(type: Any, max_length: int) -> str:
    """Return the type; raise InvalidMessageFormat when it cannot be an SSE `event:` field."""
    return check_text("type", type, max_length)


def check_text(what: str, value: Any, max_length: int) -> str:
    """
    Return the value: a str of one line that UTF-8 and every database can hold.

    Raises InvalidMessageFormat, which calls it `what`, for any other.
    """
    if not isinstance(value, str):
        raise InvalidMessageFormat(f"its {what} {value!r} is not a str; give a short name")
    if _NOT_IN_A_LINE.search(value):
        raise InvalidMessageFormat(
            f"its {what} {value!r} holds a CR, LF or NUL, which breaks the stream; take it out"
        )
    if len(value) > max_length:
        raise InvalidMessageFormat(
            f"its {what} has {len(value)} characters, {max_length} are allowed; "
            "put the rest in the payload"
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidMessageFormat(
            f"its {what} {value!r} holds a lone surrogate, which UTF-8 cannot say; take it out"
        ) from error
    return value


def encode(
    type: str, data: str, position: int | None = None, retry_ms: int | None = None
) -> bytes:
    """
    Return one event: `id:`, `event:`, `retry:` where given, and a `data:` line a line.

    See: WHATWG 9.2.6, Interpreting an event stream.
    """
    head = "" if position is None else f"id: {position}\n"
    if type:
        head += f"event: {type}\n"
    if retry_ms is not None:
        head += f"retry: {retry_ms}\n"
    body = "".join(f"data: {line}\n" for line in _LINE_END.split(data))
    return f"{head}{body}\n".encode(errors="replace")


def encode_json(type: str, payload: str, position: int) -> bytes:
    """Return one event whose data is JSON text as `json_text` made it: one line."""
    return f"id: {position}\nevent: {type}\ndata: {payload}\n\n".encode()


def text_of(payload: str) -> str:
    """Return what a `text` channel sends for JSON text: a string as it is, else the JSON."""
    value = json.loads(payload)
    return value if isinstance(value, str) else payload


def opening(retry_ms: int, position: int) -> bytes:
    """Return a stream's first bytes: they reach the client before any message."""
    return f"retry: {retry_ms}\nid: {position}\n: ok\n\n".encode()


def farewell(retry_ms: int) -> bytes:
    """Return a stream's last bytes: the client comes back after `retry_ms`."""
    return f"retry: {retry_ms}\n\n".encode()


def mark(position: int) -> bytes:
    """
    Return what moves the client's last event id without firing an event.

    WHATWG 9.2.6: a blank line sets the last event id before it looks for data.
    """
    return f"id: {position}\n\n".encode()
