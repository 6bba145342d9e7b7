"""A log that moves to another database: its channels, listeners and messages, as lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.timezone import now

from eric_sse_django import log
from eric_sse_django.database.lines import (
    CHANNEL,
    LISTENER,
    Line,
    channel_of,
    fields_of,
    head_of,
    listener_of,
    message_of,
)
from eric_sse_django.exception import InvalidMessageFormat
from eric_sse_django.log import moving
from eric_sse_django.models import (
    Channel,
    Listener,
    Revocation,
    ServerProcess,
    usernames,
    users_named,
)
from eric_sse_django.models.presence import LEASE_S

FORMAT = "eric-sse-django log"
VERSION = 1
# Rows that are read or inserted at once, within every database's limit of parameters.
PAGE_ROWS = 500
# What a line that eric_export did not write may cause.
REFUSED = (
    *(KeyError, TypeError, AttributeError, ValueError, OverflowError, RecursionError),
    *(ValidationError, InvalidMessageFormat),
)


class NotMovable(Exception):
    """The file is not an export, or the log is not empty: the message has the next step."""


def serving() -> list[str]:
    """Return the names of the processes that serve streams now."""
    return list(ServerProcess.objects.alive().values_list("name", flat=True))


def left_behind() -> list[str]:
    """Return the names of what other apps have stored of listeners, which is not exported."""
    kinds = [each.related_model for each in Listener._meta.related_objects if each.one_to_one]
    return [str(kind._meta.verbose_name_plural) for kind in kinds if kind._base_manager.exists()]


# Exporting --------------------------------------------------------------------------


def export() -> Iterator[str]:
    """
    Yield the lines: a head, channels, listeners, revocations, messages, at the end their number.

    Users, and what a revocation is of, are written by name: keys differ in the other database.
    """
    messages = moving.stored()
    first = next(messages, None)  # it gives positions: the head comes after that
    yield _line({"format": FORMAT, "version": VERSION, **moving.top()})
    names, count = _Names(), 0
    yield from map(_line, names.channels())
    yield from map(_line, names.listeners())
    yield from map(_line, names.revocations())
    for columns in chain([] if first is None else [first], messages):
        count += 1
        yield _line(names.message(columns))
    yield _line({"end": count})


class _Names:
    """The names of channels, listeners and users by their keys, as they are written."""

    def __init__(self) -> None:
        self._channels: dict[int, str] = {}
        self._listeners: dict[int, tuple[str, str]] = {}
        self._users: dict[Any, str | None] = {None: None}

    def channels(self) -> Iterator[Line]:
        for row in Channel.objects.order_by("pk"):
            self._channels[row.pk] = row.name
            yield {"channel": row.name, **{name: getattr(row, name) for name in CHANNEL}}

    def listeners(self) -> Iterator[Line]:
        for row in _pages(Listener.objects.order_by("pk")):
            channel = self._channels.get(row.channel_id)
            if channel is None:
                continue  # it was created after the channels were read
            self._listeners[row.pk] = channel, row.name
            fields = {name: getattr(row, name) for name in LISTENER}
            yield {"listener": channel, **fields, "owner": self._user(row.owner_id)}

    def revocations(self) -> Iterator[Line]:
        for row in _pages(Revocation.objects.filter(expires_at__gt=now()).order_by("pk")):
            of = self._subject(*row.subject.split(":", 1))
            if of is not None:
                times = {"revoked_at": row.revoked_at, "expires_at": row.expires_at}
                yield {"revocation": of, **times}

    def message(self, columns: Line) -> Line:
        channel, listener = columns.pop("channel_id"), columns.pop("listener_id")
        columns["message"] = self._channels.get(channel)  # a notice is in no channel
        columns["listener"] = self._listeners.get(listener, ("", ""))[1] if listener else None
        columns["owner"] = self._user(columns.pop("owner_id"))
        return columns

    def _subject(self, kind: str, key: str) -> list[str] | None:
        """Return what a revocation is of, None for what was removed."""
        if kind == "user":
            user = self._user(get_user_model()._meta.pk.to_python(key))
            return [kind, user] if user else None
        if kind == "listener":
            listener = self._listeners.get(int(key))
            return None if listener is None else [kind, *listener]
        if kind in ("channel", "watchers"):
            channel = self._channels.get(int(key))
            return None if channel is None else [kind, channel]
        return [kind, key]  # of a session, a login, a password: a digest

    def _user(self, key: Any) -> str | None:
        """Return a user's name, "" of one that does not exist. One query for each user."""
        if key not in self._users:
            self._users[key] = usernames([key]).get(key, "")
        return self._users[key]


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

    Positions stay the same: cursors and the ids that clients have remain valid. After
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
        self._number = 0  # of the line that is being read
        self._head = self._last = 0  # positions: of the log, and of the last message
        self._read = 0  # messages

    def run(self, lines: Iterable[str]) -> None:
        """Store all of it, or nothing. Raises NotMovable."""
        try:
            self._run(self._parsed(lines))
        except REFUSED as error:
            why = f"{type(error).__name__}: {error}"
            text = f"Line {self._number} is not what eric_export writes ({why})."
            raise NotMovable(text) from error

    def _run(self, parsed: Iterator[Line]) -> None:
        head = next(parsed, {})
        if head.get("format") != FORMAT or head.get("version") != VERSION:
            raise NotMovable("This is not what eric_export of this version writes.")
        self._head, trimmed = head_of(head)
        moving.prepare()
        with transaction.atomic(using=log.database()):
            moving.lock()
            self._check_empty()
            self.counts["messages"] = moving.store(self._messages(parsed))
            moving.continue_from(self._head, trimmed)

    def _parsed(self, lines: Iterable[str]) -> Iterator[Line]:
        for self._number, line in enumerate(lines, start=1):
            try:
                parsed = json.loads(line)
            except (ValueError, RecursionError):
                raise NotMovable(f"Line {self._number} is not JSON.") from None
            yield parsed

    def _check_empty(self) -> None:
        if serving():
            raise NotMovable(
                "Server processes serve streams from this database: stop them. One that was "
                f"killed counts for {LEASE_S:g} s."
            )
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
            elif "revocation" in line:
                self._insert_listeners()
                self._revoke(line)
            elif "message" in line:
                self._insert_listeners()
                columns = self._addressed(line)
                if columns is not None:
                    yield columns
            elif "listener" in line:
                self._listener(line)
            elif "end" in line:
                self._insert_listeners()
                self._check_end(line)
                return
        raise NotMovable("The file has no end: the export was cut off.")

    def _check_end(self, line: Line) -> None:
        if line["end"] != self._read:
            raise NotMovable(
                f"The file has {self._read} messages, and {line['end']!r} were exported: lines "
                "are missing."
            )

    def _channel(self, line: Line) -> None:
        fields = channel_of(line, self._head)
        # Those of ERIC_SSE["CHANNELS"] exist since the migration.
        row, _ = Channel.objects.update_or_create(name=fields["name"], defaults=fields)
        self._channels[row.name] = row
        self.counts["channels"] += 1

    def _listener(self, line: Line) -> None:
        fields = listener_of(line, self._head)
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

    def _revoke(self, line: Line) -> None:
        kind, *names = line["revocation"]
        key: Any = names[0]
        if kind == "user":
            key = self._user(names[0])
        elif kind == "listener":
            key = self._listeners.get((names[0], names[1]))
        elif kind in ("channel", "watchers"):
            key = getattr(self._channels.get(names[0]), "pk", None)
        if key is not None:
            times = fields_of(line, ("revoked_at", "expires_at"))
            Revocation.objects.update_or_create(subject=f"{kind}:{key}", defaults=times)

    def _addressed(self, line: Line) -> Line | None:
        """Return a message's columns, None if its recipient is not here."""
        columns = message_of(line, self._last, self._head)
        self._last, self._read = columns["position"], self._read + 1
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
