"""
Messages as text and bytes: checks for publishing, and the encoding of events.

Does no I/O. "WHATWG" is https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any
from weakref import WeakValueDictionary

from eric_sse_django.entry import Encode, Entry
from eric_sse_django.exception import InvalidMessageFormat

# A comment line without a blank line: it dispatches no event, also in clients that dispatch one
# at each blank line (httpx-sse, after the first id).
HEARTBEAT = b":\n"

# WHATWG 9.2.5: a line ends at CRLF, LF or CR; str.splitlines() splits at more characters.
_LINE_END = re.compile("\r\n|\n|\r")
_NOT_IN_A_LINE = re.compile("[\r\n\0]")

# Levels of lists and dicts: another Python (or this one, with a deeper stack) may fail to read
# what one Python can write. The limit of Ruby's JSON is 100, that of PHP 512.
MAX_DEPTH = 100
# Characters of a dict's key that an error shows.
MAX_KEY_SHOWN = 50
# Characters of what an encoder raises that an error shows.
MAX_REASON_SHOWN = 200
# Milliseconds of a `retry:`: a day. A client that waits longer is not expected to reconnect.
MAX_RETRY_MS = 86_400_000
# Encoders that are kept, one for each channel of streams of several channels. When exceeded, the
# least recently used one is built again, and its frames are encoded again.
MAX_ENCODERS = 10_000
_NO_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[^][{}"]+')
_INNERMOST = re.compile(r"\[\]|\{\}")


def encoder(cls: type[json.JSONEncoder]) -> json.JSONEncoder:
    """
    Return an encoder of that class that writes one line of ASCII, and no NaN.

    It also encodes any Mapping, and any Sequence except bytes.
    """
    # Separators without spaces. ASCII: every JSON string (also a lone surrogate) is unchanged in
    # the encoding of each database and client.
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

    # The encoder in C calls it for unknown types only: a plain payload takes no more time.
    made.default = default  # type: ignore[method-assign,assignment]
    return made


_PLAIN = encoder(json.JSONEncoder)


def json_text(payload: Any, max_bytes: int, encoder: json.JSONEncoder = _PLAIN) -> str:
    """
    Return the payload as one line of ASCII JSON.

    Raises InvalidMessageFormat, which names the place, for values that the encoder cannot
    encode (NaN, Infinity, objects of other types), for more than MAX_DEPTH levels and for more
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
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_deep(text):
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
    """Return which value cannot be encoded and its place, None if it is not found."""
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
        default = encoder.default(value)
    except Exception as error:  # noqa: BLE001 - as json_text()
        return f"{place} is of type {_type_name(value)}{_reason(value, error)}"
    return _offender(default, place, encoder, levels - 1)


def _reason(value: Any, error: Exception) -> str:
    """Return the reason that a project's encoder gives; none for what json itself refuses."""
    if str(error) == f"Object of type {type(value).__name__} is not JSON serializable":
        return ""
    reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f" ({_cut(reason, MAX_REASON_SHOWN)})"


def _short(key: Any) -> str:
    return _cut(repr(key), MAX_KEY_SHOWN)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def _type_name(value: Any) -> str:
    cls = type(value)
    return (
        cls.__qualname__
        if cls.__module__ == "builtins"
        else f"{cls.__module__}.{cls.__qualname__}"
    )


def _is_deep(text: str) -> bool:
    brackets = _NO_BRACKET.sub("", text)
    for _ in range(MAX_DEPTH):
        brackets = _INNERMOST.sub("", brackets)
        if not brackets:
            return False
    return True


def check_text(what: str, value: Any, max_length: int) -> str:
    """
    Return the value: a str of one line that UTF-8 and every database can store.

    Raises InvalidMessageFormat, with `what` as its name, for other values.
    """
    if not isinstance(value, str):
        raise InvalidMessageFormat(f"its {what} {value!r} is not a str; give a short name")
    if _NOT_IN_A_LINE.search(value):
        raise InvalidMessageFormat(
            f"its {what} {value!r} contains a CR, LF or NUL, which breaks the stream; remove it"
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
            f"its {what} {value!r} contains a lone surrogate, which UTF-8 cannot encode; remove it"
        ) from error
    return value


def check_retry(value: Any) -> int | None:
    """Return the milliseconds of a `retry:` field, or None; raise InvalidMessageFormat."""
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
    Return one event: `id:`, `event:` and `retry:` if given, and one `data:` for each line.

    Raises InvalidMessageFormat for a type of more than one line: it would forge fields and
    events. See: WHATWG 9.2.6, Interpreting an event stream.
    """
    if _NOT_IN_A_LINE.search(type):
        raise InvalidMessageFormat("its type contains a CR, LF or NUL, which breaks the stream")
    head = "" if position is None else f"id: {position}\n"
    if type:
        head += f"event: {type}\n"
    if retry_ms is not None:
        head += f"retry: {retry_ms}\n"
    body = "".join(f"data: {line}\n" for line in _LINE_END.split(data))
    return f"{head}{body}\n".encode(errors="replace")


def text_of(payload: str) -> str:
    """Return the data that a `text` channel sends for JSON text: its string, or the JSON."""
    value = json.loads(payload)
    return value if isinstance(value, str) else payload


@lru_cache(MAX_ENCODERS)
def channel_encoder(as_text: bool, prefix: str = "") -> Encode:
    """
    Return the function that encodes entries; the same one for the same arguments.

    `as_text` sends a string as it is, not as JSON. `prefix` is put before the event's name.
    """

    def encode_text(entry: Entry) -> bytes:
        return encode(prefix + entry.type, text_of(entry.payload), entry.position)

    def encode_json(entry: Entry) -> bytes:  # one line, as json_text() returns it
        event = f"id: {entry.position}\nevent: {prefix}{entry.type}\ndata: {entry.payload}\n\n"
        return event.encode()

    return encode_text if as_text else encode_json


def encode_all(entries: Sequence[Entry]) -> bytes:
    """Return the events of entries, as channel_encoder(False): in a third of the time."""
    events = [
        f"id: {entry.position}\nevent: {entry.type}\ndata: {entry.payload}\n\n"
        for entry in entries
    ]
    return "".join(events).encode()


class _Named:
    """Encodes entries of several channels, each by the encoder of its channel."""

    def __init__(self, encoders: Mapping[int, Encode]) -> None:
        self._encoders = dict(encoders)

    def __call__(self, entry: Entry) -> bytes:
        return entry.named_frame(self._encoders[entry.channel])


# Shared by streams of the same channels, so that they share the batches' bytes, too.
_named: WeakValueDictionary[tuple[tuple[int, Encode], ...], _Named] = WeakValueDictionary()


def named_encoder(encoders: Mapping[int, Encode]) -> Encode:
    """Return what encodes entries of several channels, by their keys' encoders; shared."""
    key = tuple(encoders.items())
    found = _named.get(key)
    if found is None:
        found = _named[key] = _Named(encoders)
    return found


# What a stream sends beside events ----------------------------------------------------


def opening(retry_ms: int, position: int, blank: bool, heartbeat_s: float | None = None) -> bytes:
    """
    Return a stream's first bytes, which are sent before any message. See mark().

    With `heartbeat_s` the comment has it: a client that reads comments then knows after which
    silence a connection is broken.
    """
    comment = "ok" if heartbeat_s is None else f"ok heartbeat={heartbeat_s:g}"
    return f"retry: {retry_ms}\nid: {position}\n: {comment}\n{chr(10) if blank else ''}".encode()


def farewell(retry_ms: int) -> bytes:
    """
    Return a stream's last bytes: the client reconnects after `retry_ms`.

    WHATWG 9.2.6: a `retry:` takes effect at the end of its line.
    """
    return f"retry: {retry_ms}\n".encode()


def mark(position: int, blank: bool) -> bytes:
    """
    Return the bytes that set the client's last event id without dispatching an event.

    WHATWG 9.2.6: a blank line sets the last event id before the data is checked. No `blank` line
    is sent to clients that set the id at its line, and dispatch an event at each blank line.
    """
    return f"id: {position}\n{chr(10) if blank else ''}".encode()
