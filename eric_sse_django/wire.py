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
_NOT_IN_A_TYPE = re.compile("[\r\n\0]")

# The separators leave no space to send; ASCII, so that every JSON string (a lone
# surrogate too) survives any database's and any client's encoding unchanged.
_JSON = json.JSONEncoder(allow_nan=False, separators=(",", ":"), ensure_ascii=True)


def json_text(payload: Any, max_bytes: int) -> str:
    """
    Return the payload as one line of ASCII JSON.

    Raises InvalidMessageFormat for what JSON cannot say (NaN, Infinity, objects
    of other types, endless nesting) and for more than `max_bytes` bytes.
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
    return text


def check_type(type: Any, max_length: int) -> str:
    """Return the type; raise InvalidMessageFormat when it cannot be an SSE `event:` field."""
    if not isinstance(type, str):
        raise InvalidMessageFormat(f"its type {type!r} is not a str; give a short name")
    if _NOT_IN_A_TYPE.search(type):
        raise InvalidMessageFormat(
            f"its type {type!r} holds a CR, LF or NUL, which would break the stream; take it out"
        )
    if len(type) > max_length:
        raise InvalidMessageFormat(
            f"its type has {len(type)} characters, {max_length} are allowed; "
            "put the rest in the payload"
        )
    try:
        type.encode()
    except UnicodeEncodeError as error:
        raise InvalidMessageFormat(
            f"its type {type!r} holds a lone surrogate, which UTF-8 cannot say; take it out"
        ) from error
    return type


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
