"""
Publishing: from a message to its row, by one INSERT in the publisher's own transaction.

SQL text is built once: a model's instance and its save() take 130 µs of CPU, of which the
database takes 30.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction
from django.utils import timezone
from django.utils.module_loading import import_string

from eric_sse_django import conf, wire
from eric_sse_django.entry import NO_CHANNEL, RESERVED_PREFIX
from eric_sse_django.exception import InvalidMessageFormat
from eric_sse_django.log.dialect import Dialect, array_text, dialect_of, log_dialect
from eric_sse_django.log.inserting import (
    Appended,
    Insert,
    Insertion,
    insert_row,
    may_place,
    moved,
    note_published,
    place,
    placing_many,
    segments_of,
    unless_waiting,
)
from eric_sse_django.log.protocol import Draft, Segment
from eric_sse_django.message import MessageContract, SignedMessage, UniqueMessage
from eric_sse_django.models import (
    TYPE_MAX_LENGTH,
    Channel,
    Listener,
    could_be_id,
)

# Characters of a sender's or a message's id, as in the columns.
ID_MAX_LENGTH = 255
# Seconds for which a notice is kept: for the hub of a process that was suspended for long.
NOTICE_KEPT_S = 86_400
# Bytes of a notice at most, whatever MAX_MESSAGE_BYTES is.
NOTICE_BYTES = 262_144
# Rows of one statement on PostgreSQL, which reads the values as a few arrays.
INSERT_BATCH = 5_000
# The text of each encoder must be one line of ASCII, also for this payload.
_SAMPLE = {"\u00e9\n": ["\ud800", 0.5, None]}

_COLUMNS = (
    *("channel", "listener", "owner", "type", "payload", "sender", "uid"),
    *("perishable", "created_at", "expires_at"),
)
# How clients name an event without a name.
UNNAMED = "message"
_CREATED_AT = _COLUMNS.index("created_at")

# A message before its row exists ----------------------------------------------------


def draft(
    channel: Channel,
    type: str,
    payload: Any,
    listener: Any = None,
    owner: Any = None,
    expires_in_s: float | None = None,
    is_html: bool = False,
) -> Draft:
    """
    Return the draft of a message to a channel, or to one listener's or owner's key.

    `expires_in_s` is its lifetime, None for that of the channel's messages. If it `is_html`, its
    type may be "": an event without a name, as htmx 4 and Turbo read. Raises
    InvalidMessageFormat for what cannot be sent.
    """
    checked = type or (UNNAMED if is_html else "")
    found = _draft(_terms(channel, expires_in_s), checked, payload, listener, owner)
    return found if type else replace(found, type="")


def row(
    channel: Channel,
    message: MessageContract,
    listener: Any = None,
    owner: Any = None,
    expires_in_s: float | None = None,
) -> Draft:
    """Return a message's draft(), with its sender and id if it has them."""
    return _row(_terms(channel, expires_in_s), message, listener, owner)


def rows(
    channel: Channel, messages: Iterable[MessageContract], expires_in_s: float | None = None
) -> list[Draft]:
    """Return the row() of each message. Reads the settings once: of 1,000 that saves a fifth."""
    terms = _terms(channel, expires_in_s)
    return [_row(terms, message) for message in messages]


def copies(
    listeners: Sequence[Listener], message: MessageContract, expires_in_s: float | None = None
) -> list[Draft]:
    """Return the row() of a message for each of some listeners. Encodes it once."""
    made: list[Draft] = []
    for listener in listeners:
        if made:
            made.append(replace(made[0], listener=listener.pk))
            readdress(made[-1], listener.channel, expires_in_s)
        else:
            made.append(row(listener.channel, message, listener.pk, None, expires_in_s))
    return made


class _Terms(NamedTuple):
    """What the messages of one call to one channel have in common."""

    channel: Any
    kept_s: float
    perishable: bool
    max_bytes: int
    encoder: json.JSONEncoder


def _terms(channel: Channel, expires_in_s: float | None) -> _Terms:
    return _Terms(channel.pk, *lifetime_of(channel, expires_in_s), *_encoding())


def _draft(
    terms: _Terms, type: str, payload: Any, listener: Any = None, owner: Any = None
) -> Draft:
    """All messages pass here."""
    if not wire.check_text("type", type, TYPE_MAX_LENGTH):
        raise InvalidMessageFormat(
            "its type is empty, which clients would take for 'message'; give it a name"
        )
    if type.startswith(RESERVED_PREFIX):
        raise InvalidMessageFormat(
            f"its type {type!r} begins with {RESERVED_PREFIX!r}, which is reserved for this app; "
            "use another name"
        )
    pk, kept_s, perishable, max_bytes, encoder = terms
    text = wire.json_text(payload, max_bytes, encoder)
    return Draft(pk, kept_s, perishable, type, text, listener, owner)


def _row(
    terms: _Terms, message: MessageContract, listener: Any = None, owner: Any = None
) -> Draft:
    try:
        type = message.type
    except AttributeError as error:
        kind = message.__class__.__qualname__  # never its value, which may be a payload
        raise InvalidMessageFormat(
            f"it is of type {kind}, not a message; give Message(type, payload)"
        ) from error
    made = _draft(terms, type, message.payload, listener, owner)
    if isinstance(message, (SignedMessage, UniqueMessage)) and message.sender_id is not None:
        made.sender = wire.check_text("sender_id", message.sender_id, ID_MAX_LENGTH)
    if isinstance(message, UniqueMessage):
        made.uid = wire.check_text("id", message.id, ID_MAX_LENGTH)
    return made


def lifetime_of(channel: Channel, expires_in_s: float | None) -> tuple[float, bool]:
    """
    Return for how many seconds a message of a channel is kept, and whether it expires then.

    `expires_in_s` is its own lifetime, None for the channel's. Raises InvalidMessageFormat.
    """
    kept_s: float = channel.retention_s or conf.get("RETENTION_S")
    lives_s: Any = channel.expires_in_s
    if expires_in_s is not None:
        lives_s = expires_in_s
        number = isinstance(lives_s, (int, float)) and not isinstance(lives_s, bool)
        if not (number and lives_s > 0):
            raise InvalidMessageFormat(
                f"its expires_in_s is {lives_s!r}; give a number of seconds over 0, or None"
            )
    if lives_s is None or lives_s > kept_s:
        return kept_s, False
    return lives_s, True


def readdress(draft: Draft, channel: Channel, expires_in_s: float | None) -> None:
    """Address a draft to a channel whose row was read again."""
    draft.channel = channel.pk
    draft.kept_s, draft.perishable = lifetime_of(channel, expires_in_s)


def payload_text(payload: Any) -> str:
    """
    Return the payload as one line of ASCII JSON.

    Raises InvalidMessageFormat, as wire.json_text() does.
    """
    return wire.json_text(payload, *_encoding())


def _encoding() -> tuple[int, json.JSONEncoder]:
    max_bytes, path = conf.several("MAX_MESSAGE_BYTES", "JSON_ENCODER")
    return max_bytes, encoder(path)


@lru_cache
def encoder(path: str) -> json.JSONEncoder:
    """
    Return an encoder of the class with that dotted path.

    Raises ImportError, and ImproperlyConfigured for what is not an encoder or does not write
    one line of ASCII.
    """
    cls = import_string(path)
    if not (isinstance(cls, type) and issubclass(cls, json.JSONEncoder)):
        raise ImproperlyConfigured(f"{path} is not a subclass of json.JSONEncoder.")
    made = wire.encoder(cls)
    text = made.encode(_SAMPLE)
    if not (isinstance(text, str) and text.isascii() and "\n" not in text):
        raise ImproperlyConfigured(f"{path} does not write one line of ASCII: {text!r}.")
    return made


def control(listener: Listener, type: str, payload: str = "null", uid: str | None = None) -> Draft:
    """Return the draft of a control message to a listener's open streams."""
    kept_s = conf.get("RETENTION_S")
    return Draft(listener.channel_id, kept_s, False, type, payload, listener.pk, uid=uid)


def notice(type: str, payload: Any) -> Draft:
    """Return the draft of a notice to all hubs."""
    return Draft(NO_CHANNEL, NOTICE_KEPT_S, False, type, wire.json_text(payload, NOTICE_BYTES))


# Its row ----------------------------------------------------------------------------


def append(drafts: Sequence[Draft]) -> None:
    """
    Insert messages, in their order, in the caller's transaction. Takes no lock.

    One INSERT for one; several are inserted in one transaction: all of them or none.
    """
    dialect = log_dialect()
    using = dialect.connection.alias
    rows = _rows(dialect, drafts)
    if len(rows) == 1:
        with transaction.mark_for_rollback_on_error(using), dialect.writer() as cursor:
            cursor.execute(_single(using), rows[0])
        return
    with (
        transaction.mark_for_rollback_on_error(using),
        dialect.connection.cursor() as cursor,
        transaction.atomic(using=using, savepoint=False),
    ):
        if not dialect.arrays:
            cursor.executemany(_single(using), rows)
            return
        # One statement for many rows: executemany() sends one for each.
        for first in range(0, len(rows), INSERT_BATCH):
            columns = zip(*rows[first : first + INSERT_BATCH], strict=True)
            cursor.execute(_from_arrays(using), [array_text(column) for column in columns])


def append_placed(dialect: Dialect, drafts: Sequence[Draft]) -> list[Segment] | None:
    """
    As append(), of one message at least, with positions if no other message waits for one.

    For a transaction that is the only one that writes. Its caller passes the segments on when it
    is committed; None where the sequencer must give the positions.
    """
    using, now = dialect.connection.alias, timezone.now()
    with dialect.connection.cursor() as cursor:
        cursor.execute(unless_waiting(using))
        head = cursor.fetchone()
        if head is None:
            append(drafts)
            return None
        rows = _rows(dialect, drafts, now)
        numbers = range(head[0] + 1, head[0] + 1 + len(rows))
        placed = [(*row, number) for row, number in zip(rows, numbers, strict=True)]
        cursor.executemany(_single_placed(using), placed)
        cursor.execute(moved(using), [numbers[-1], numbers[-1], rows[0][_CREATED_AT]])
        cursor.execute(unless_waiting(using))
        stamp = cursor.fetchone()[2]
    return segments_of(dialect, (*head, len(drafts), stamp), drafts, now)


def insertion_of(
    dialect: Dialect, drafts: Sequence[Draft], numbers: Sequence[int], where: str, places: bool
) -> Insertion:
    """
    Return how a larger statement inserts messages, in their order, with their positions.

    For a dialect that writes in WITH, and one message at least. Each message has a number, which
    the condition `where` calls `m.number`. Without `places` they get no positions.
    """
    now = timezone.now()
    columns = zip(*_rows(dialect, drafts, now), strict=True)
    values = [*map(array_text, columns), array_text(numbers), dialect.time(now)]
    return Insertion(_inserting(dialect.connection.alias, where, places), values, now)


def append_one(draft: Draft) -> Segment | None:
    """As append(); return the message's segment where it has got its position: see inserting."""
    dialect, appended = log_dialect(), None
    if may_place(dialect):
        [values] = _rows(dialect, [draft])
        appended = place(dialect, _insert(dialect.connection.alias, values))
    else:
        append([draft])
    note_published()
    return None if appended is None else appended.segment


def append_to(channel: Channel, draft: Draft, listener: str | None = None) -> Appended | None:
    """
    Insert a message if its channel is still as `channel` was read, in the caller's transaction.

    One statement, which finds the channel by its key: None, and nothing inserted, if the
    channel was removed or renamed, or its retention changed. With the id of a `listener` the
    message is that listener's, and None may also mean that there is none. Takes no lock in a
    transaction of the caller: on MariaDB above READ COMMITTED, Django's default, it takes two
    statements to avoid one. On SQLite another one moves the head.
    """
    if listener is not None and not could_be_id(listener):  # a NUL would be a database error
        return None
    dialect = log_dialect()
    using = dialect.connection.alias
    [values] = _rows(dialect, [draft])
    kept_s, lives_s = channel.retention_s, channel.expires_in_s
    where = _unchanged(using, listener is not None, kept_s is not None, lives_s is not None)
    known: list[Any] = [channel.pk, channel.name]
    if listener is not None:
        known.insert(0, listener)
    if kept_s is not None:
        known.append(kept_s)
    if lives_s is not None:
        known.append(lives_s)
    insert = _insert(using, values, listener is not None, where, known)
    if may_place(dialect):
        appended = place(dialect, insert)
    elif dialect.insert_select_locks:
        appended = _insert_found(dialect, values, insert, listener is not None)
    else:
        appended = insert_row(dialect, insert)
    if appended is not None:
        note_published()
    return appended


def _insert_found(
    dialect: Dialect, values: Sequence[Any], insert: Insert, to_listener: bool
) -> Appended | None:
    """As insert_row(), by two statements that lock nothing that they read."""
    using = dialect.connection.alias
    with transaction.mark_for_rollback_on_error(using), dialect.writer() as cursor:
        cursor.execute(f"SELECT {'l.id' if to_listener else 'NULL'} {insert.source}", insert.known)
        if (row := cursor.fetchone()) is None:
            return None
        cursor.execute(_single(using), [values[0], *row, *values[2:]])
        return Appended()


def _insert(
    using: str,
    values: Sequence[Any],
    to_listener: bool = False,
    source: str = "",
    known: Sequence[Any] = (),
) -> Insert:
    created_at = values[_CREATED_AT]
    if to_listener:
        values = [*values[:1], *values[2:]]
    return Insert(*_parts(using, to_listener), source, values, known, created_at)


def _rows(
    dialect: Dialect, drafts: Sequence[Draft], now: datetime | None = None
) -> list[tuple[Any, ...]]:
    """Return the values in the order of the columns, as parameters."""
    now, adapt = now or timezone.now(), dialect.connection.ops.adapt_datetimefield_value
    created_at = adapt(now)
    expiries: dict[float, Any] = {}  # mostly one for all
    rows = []
    for draft in drafts:
        expires_at = expiries.get(draft.kept_s)
        if expires_at is None:
            expires_at = adapt(now + timedelta(seconds=draft.kept_s))
            expiries[draft.kept_s] = expires_at
        rows.append(
            (
                draft.channel,
                draft.listener,
                None if draft.owner is None else dialect.key("owner", draft.owner),
                draft.type,
                draft.payload,
                draft.sender,
                draft.uid,
                draft.perishable,
                created_at,
                expires_at,
            )
        )
    return rows


@lru_cache
def _single(using: str) -> str:
    places = ", ".join(["%s"] * len(_COLUMNS))
    return f"{_into(using)} VALUES ({places})"


@lru_cache
def _single_placed(using: str) -> str:
    table, columns, select = _parts(using, False)
    return f"INSERT INTO {table} ({columns}, position) VALUES ({select}, %s)"


@lru_cache
def _parts(using: str, to_listener: bool) -> tuple[str, str, str]:
    """Return the table, its columns, and what is selected for these."""
    dialect = dialect_of(connections[using])
    places = ["%s"] * len(_COLUMNS)
    if to_listener:
        places[1] = "l.id"
    return dialect.log, ", ".join(map(dialect.column, _COLUMNS)), ", ".join(places)


@lru_cache
def _unchanged(using: str, to_listener: bool, retention: bool, lifetime: bool) -> str:
    dialect = dialect_of(connections[using])
    exact = dialect.exact
    join = f" JOIN {dialect.listeners} l ON l.channel_id = c.id AND {exact}l.name = %s"
    known = [
        "c.id = %s",
        f"{exact}c.name = %s",
        f"c.retention_s {'= %s' if retention else 'IS NULL'}",
        f"c.expires_in_s {'= %s' if lifetime else 'IS NULL'}",
    ]
    return f"FROM {dialect.channels} c{join if to_listener else ''} WHERE {' AND '.join(known)}"


@lru_cache
def _from_arrays(using: str) -> str:
    dialect = dialect_of(connections[using])
    arrays = ", ".join(f"(%s)::{dialect.type_of(name)}[]" for name in _COLUMNS)
    return f"{_into(using)} SELECT * FROM UNNEST({arrays})"


@lru_cache
def _inserting(using: str, where: str, places: bool) -> str:
    dialect = dialect_of(connections[using])
    arrays = ", ".join(f"(%s)::{dialect.type_of(name)}[]" for name in _COLUMNS)
    columns = ", ".join(map(dialect.column, _COLUMNS))
    messages = f"""
        SELECT {columns}, ROW_NUMBER() OVER (ORDER BY place) AS nth
        FROM UNNEST({arrays}, (%s)::bigint[]) WITH ORDINALITY
            AS m ({columns}, number, place) WHERE {where}
    """
    return placing_many(dialect, (dialect.log, columns), messages, places)


def _into(using: str) -> str:
    table, columns, _ = _parts(using, False)
    return f"INSERT INTO {table} ({columns})"
