"""
Messages as text and bytes: what may be published, and what stands on the wire.

Does no I/O. "WHATWG" is https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from eric_sse_django.exception import InvalidMessageFormat

# A comment line alone: it dispatches nothing, also in clients that take a blank
# line for an event (httpx-sse does once it has seen an id).
HEARTBEAT = b":\n"

# WHATWG 9.2.5: a line ends at CRLF, LF or CR; not at what str.splitlines() adds.
_LINE_END = re.compile("\r\n|\n|\r")
_NOT_IN_A_LINE = re.compile("[\r\n\0]")

# Levels of lists and dicts: what one Python may nest, another (or this one, called from
# deeper down) may fail to read. 100 is where Ruby's JSON stops, PHP's stops at 512.
MAX_DEPTH = 100
# Characters of a dict's key that an error shows.
MAX_KEY_SHOWN = 50
# Milliseconds of a `retry:` at most: a day. A client that is asked to stay away for longer is
# not expected back.
MAX_RETRY_MS = 86_400_000
_NO_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[^][{}"]+')
_INNERMOST = re.compile(r"\[\]|\{\}")


def encoder(cls: type[json.JSONEncoder]) -> json.JSONEncoder:
    """
    Return an encoder of that class which writes one line of ASCII, and no NaN.

    What the class does not know may be any Mapping or Sequence but bytes.
    """
    # The separators leave no space to send; ASCII, so that every JSON string (a lone
    # surrogate too) survives any database's and any client's encoding unchanged.
    made = cls(allow_nan=False, separators=(",", ":"), ensure_ascii=True)
    known = made.default

    def default(value: Any) -> Any:
        try:
            return known(value)
        except TypeError:
            if isinstance(value, Mapping):
                return dict(value)
            if isinstance(value, Sequence) and not isinstance(
                value, (bytes, bytearray, memoryview)
            ):
                return list(value)
            raise

    # Called only for what the encoder in C does not know: a plain payload costs no more.
    made.default = default  # type: ignore[method-assign,assignment]
    return made


_PLAIN = encoder(json.JSONEncoder)


def json_text(payload: Any, max_bytes: int, encoder: json.JSONEncoder = _PLAIN) -> str:
    """
    Return the payload as one line of ASCII JSON.

    Raises InvalidMessageFormat, which names the place, for what the encoder cannot say
    (NaN, Infinity, objects of other types), for more than MAX_DEPTH levels and for more
    than `max_bytes` bytes.
    """
    try:
        text = encoder.encode(payload)
    except Exception as error:
        raise InvalidMessageFormat(_refusal(payload, encoder, error)) from error
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


def _refusal(payload: Any, encoder: json.JSONEncoder, error: Exception) -> str:
    found = _offender(payload, "payload", encoder, MAX_DEPTH)
    if found is None:
        return f"its payload cannot be encoded as JSON ({error})"
    return (
        f"its {found}, which cannot be encoded as JSON; publish dict, list, str, int, finite "
        "float, bool or None, or name an encoder in ERIC_SSE['JSON_ENCODER']"
    )


def _offender(value: Any, place: str, encoder: json.JSONEncoder, levels: int) -> str | None:
    """Return what cannot be encoded and where it is, None where that is not found."""
    if value is None or isinstance(value, (str, int)) or levels < 0:
        return None
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{place} is {value!r}"
    if isinstance(value, dict):
        for key in value:
            if not (key is None or isinstance(key, (str, int, float))):
                return f"{place} has a key of type {_type_name(key)}"
    if isinstance(value, (dict, list, tuple)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        found = (
            _offender(each, f"{place}[{_short(key)}]", encoder, levels - 1) for key, each in items
        )
        return next(filter(None, found), None)
    try:
        said = encoder.default(value)
    except Exception:  # noqa: BLE001 - as json_text()
        return f"{place} is of type {_type_name(value)}"
    return _offender(said, place, encoder, levels - 1)


def _short(key: Any) -> str:
    text = repr(key)
    return text if len(text) <= MAX_KEY_SHOWN else f"{text[:MAX_KEY_SHOWN]}…"


def _type_name(value: Any) -> str:
    cls = type(value)
    return (
        cls.__qualname__
        if cls.__module__ == "builtins"
        else f"{cls.__module__}.{cls.__qualname__}"
    )


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


def check_retry(value: Any) -> int | None:
    """Return the milliseconds of a `retry:` field, None for none; raise InvalidMessageFormat."""
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_RETRY_MS:
        return value
    raise InvalidMessageFormat(
        f"its retry is not a whole number of milliseconds from 1 to {MAX_RETRY_MS}"
    )


def encode(
    type: str, data: str, position: int | None = None, retry_ms: int | None = None
) -> bytes:
    """
    Return one event: `id:`, `event:`, `retry:` where given, and a `data:` line a line.

    Raises InvalidMessageFormat for a type of more than one line: it would forge fields and
    events. See: WHATWG 9.2.6, Interpreting an event stream.
    """
    if _NOT_IN_A_LINE.search(type):
        raise InvalidMessageFormat("its type holds a CR, LF or NUL, which breaks the stream")
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


def opening(retry_ms: int, position: int, blank: bool) -> bytes:
    """Return a stream's first bytes: they reach the client before any message. See mark()."""
    return f"retry: {retry_ms}\nid: {position}\n: ok\n{chr(10) if blank else ''}".encode()


def farewell(retry_ms: int) -> bytes:
    """
    Return a stream's last bytes: the client reconnects after `retry_ms`.

    WHATWG 9.2.6: a `retry:` counts from the end of its line on.
    """
    return f"retry: {retry_ms}\n".encode()


def mark(position: int, blank: bool) -> bytes:
    """
    Return what moves the client's last event id without firing an event.

    WHATWG 9.2.6: a blank line sets the last event id before it looks for data. For a client
    that takes the id at its own line, and a `blank` line for an event, there is to be none.
    """
    return f"id: {position}\n{chr(10) if blank else ''}".encode()
