"""A log that moves to another database: its channels, listeners and messages, as lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from django.db import transaction

from eric_sse_django import log
from eric_sse_django.log import moving
from eric_sse_django.models import Channel, Listener, usernames, users_named

FORMAT = "eric-sse-django log"
VERSION = 1
# Rows that are read or inserted at once, within every database's limit of parameters.
PAGE_ROWS = 500

_CHANNEL = ("name", "format", "access", "retention_s", "expires_in_s", "floor", "created_at")
_LISTENER = (
    *("name", "owner_id", "running", "acknowledgement", "start", "cursor", "floor"),
    *("replays", "created_at", "last_seen"),
)
_TIMES = frozenset({"created_at", "last_seen", "expires_at"})

Line = dict[str, Any]


class NotMovable(Exception):
    """The file is not an export, or the log is not empty: the message has the next step."""


# Exporting --------------------------------------------------------------------------


def export() -> Iterator[str]:
    """
    Yield the lines: a head, channels, listeners and messages, and at the end their numbers.

    Owners are written by name: their keys may differ in the other database.
    """
    messages = moving.stored()
    first = next(messages, None)  # it gives positions: the head comes after that
    yield _line({"format": FORMAT, "version": VERSION, **moving.top()})
    channels = {row.pk: row for row in Channel.objects.order_by("pk")}
    for row in channels.values():
        yield _line({"channel": row.name, **{name: getattr(row, name) for name in _CHANNEL}})
    names: dict[int, str] = {}
    owners = _Owners()
    for row in _pages(Listener.objects.order_by("pk")):
        names[row.pk] = row.name
        owner = owners.name(row.owner_id)
        fields = {name: getattr(row, name) for name in _LISTENER if name != "owner_id"}
        yield _line({"listener": channels[row.channel_id].name, **fields, "owner": owner})
    count = 0
    for found in ([] if first is None else [first]), messages:
        for columns in found:
            count += 1
            owner = owners.name(columns.pop("owner_id"))
            yield _line({**_message(columns, channels, names), "owner": owner})
    yield _line({"end": count})


class _Owners:
    """The names of users, each looked up once."""

    def __init__(self) -> None:
        self._names: dict[Any, str | None] = {None: None}

    def name(self, key: Any) -> str | None:
        if key not in self._names:
            self._names[key] = usernames([key]).get(key, "")
        return self._names[key]


def _message(columns: Line, channels: dict[int, Channel], names: dict[int, str]) -> Line:
    row = channels.get(columns.pop("channel_id"))
    listener = columns.pop("listener_id")
    columns["message"] = None if row is None else row.name  # a notice is in no channel
    columns["listener"] = None if listener is None else names.get(listener, "")
    return columns


def _line(value: Line) -> str:
    return json.dumps(value, default=_text, separators=(",", ":"))


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _pages(rows: Any) -> Iterator[Any]:
    page = list(rows[:PAGE_ROWS])
    while page:
        yield from page
        page = list(rows.filter(pk__gt=page[-1].pk)[:PAGE_ROWS])


# Importing --------------------------------------------------------------------------


class Import:
    """
    Reads the lines of an export into an empty log, in one transaction.

    Positions stay the same: cursors, tickets and the ids that clients have remain valid. After
    run(), `counts` has what was stored, and `without_owner` the listeners that were left out
    because there is no user of that name.
    """

    def __init__(self) -> None:
        self.counts = {"channels": 0, "listeners": 0, "messages": 0}
        self.without_owner: list[str] = []
        self._channels: dict[str, Channel] = {}
        self._listeners: dict[tuple[str, str], int] = {}
        self._new: list[Listener] = []  # that are not inserted yet
        self._users: dict[str, Any] = {}

    def run(self, lines: Iterable[str]) -> None:
        """Store all of it, or nothing. Raises NotMovable."""
        parsed = _parsed(lines)
        head = next(parsed, {})
        if head.get("format") != FORMAT or head.get("version") != VERSION:
            raise NotMovable("This is not what eric_export of this version writes.")
        with transaction.atomic(using=log.database()):
            self._check_empty()
            self.counts["messages"] = moving.store(self._messages(parsed))
            moving.continue_from(head["position"], head["trimmed"])

    def _check_empty(self) -> None:
        if not moving.is_empty() or Listener.objects.exists():
            raise NotMovable(
                "The log here is not empty, so positions would clash: import into a new database "
                "(manage.py migrate), before anything is published."
            )

    def _messages(self, lines: Iterator[Line]) -> Iterator[Line]:
        """Yield the columns of messages; store channels and listeners, which come before them."""
        for line in lines:
            if "channel" in line:
                self._channel(line)
            elif "message" in line:
                self._insert_listeners()
                columns = self._addressed(line)
                if columns is not None:
                    yield columns
            elif "listener" in line:
                self._listener(line)
            elif "end" in line:
                self._insert_listeners()
                return
        raise NotMovable("The file has no end: the export was cut off.")

    def _channel(self, line: Line) -> None:
        fields = _fields(line, _CHANNEL)
        # Those of ERIC_SSE["CHANNELS"] exist since the migration.
        row, _ = Channel.objects.update_or_create(name=fields["name"], defaults=fields)
        self._channels[row.name] = row
        self.counts["channels"] += 1

    def _listener(self, line: Line) -> None:
        fields = _fields(line, _LISTENER)
        fields.pop("owner_id", None)
        if (name := line["owner"]) is not None:
            if self._user(name) is None:
                self.without_owner.append(f"{line['listener']}/{fields['name']} ({name})")
                return
            fields["owner_id"] = self._user(name)
        self._new.append(Listener(channel=self._channels[line["listener"]], **fields))
        self.counts["listeners"] += 1
        if len(self._new) >= PAGE_ROWS:
            self._insert_listeners()

    def _insert_listeners(self) -> None:
        """Insert those that wait, and find their keys, which not every database returns."""
        if not self._new:
            return
        Listener.objects.bulk_create(self._new)
        names = {row.name for row in self._new}
        channels = {row.channel_id for row in self._new}
        rows = Listener.objects.filter(channel__in=channels, name__in=names)
        for channel, name, pk in rows.values_list("channel__name", "name", "pk"):
            self._listeners[channel, name] = pk
        self._new.clear()

    def _addressed(self, line: Line) -> Line | None:
        """Return a message's columns, None if its recipient is not here."""
        columns = _fields(line, ("position", "type", "payload", "sender", "uid", "perishable"))
        columns |= _fields(line, ("created_at", "expires_at"))
        name = line["message"]
        channel = self._channels.get(name) if name is not None else None
        if channel is None:
            return None  # a notice, or of a channel that was removed
        columns["channel_id"] = channel.pk
        if line["listener"] is not None:
            columns["listener_id"] = self._listeners.get((name, line["listener"]))
            if columns["listener_id"] is None:
                return None
        if line["owner"] is not None:
            columns["owner_id"] = self._user(line["owner"])
            if columns["owner_id"] is None:
                return None
        return columns

    def _user(self, name: str) -> Any:
        if name not in self._users:
            self._users |= {name: None, **users_named([name])}
        return self._users[name]


def _parsed(lines: Iterable[str]) -> Iterator[Line]:
    for number, line in enumerate(lines, start=1):
        try:
            yield json.loads(line)
        except ValueError:
            raise NotMovable(f"Line {number} is not JSON.") from None


def _fields(line: Line, names: Iterable[str]) -> Line:
    return {
        name: datetime.fromisoformat(line[name]) if name in _TIMES and line[name] else line[name]
        for name in names
        if name in line
    }
