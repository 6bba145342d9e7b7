"""Follows channels in the terminal."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from eric_sse_django import log
from eric_sse_django.entry import CONTROLS, NO_CHANNEL, Entry
from eric_sse_django.management.command import OperatorCommand
from eric_sse_django.management.terminal import check_interval, duration, highlighted, printable
from eric_sse_django.models import Channel, Listener, usernames

# Entries that are read at once, and the characters of a payload that are shown.
ROWS = 500
SHOWN = 2_000


class Command(OperatorCommand):
    help = "Shows what is published to channels (without names: to all), as it gets its position. "
    help += "End it with Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("channel", nargs="*", help="Ids of channels; * and ? stand for any.")
        parser.add_argument("--type", help="Only messages of this type; * and ? stand for any.")
        parser.add_argument("--match", help="Only messages with this text in their payload.")
        parser.add_argument("--listener", help="Only what is for the listener with this id.")
        parser.add_argument("--owner", help="Only what is for the user with this name.")
        parser.add_argument("--since", help="Begin with the messages of the last 10m, 2h, 1d.")
        parser.add_argument(
            "--no-follow", action="store_true", help="Show what is there, and end."
        )
        parser.add_argument("--count", type=int, help="End after so many messages.")
        parser.add_argument("--json", action="store_true", help="Print a JSON object a line.")
        parser.add_argument(
            "--interval", type=float, default=0.25, help="Seconds between two looks."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        check_interval("--interval", options["interval"])
        if options["count"] is not None and options["count"] <= 0:
            raise CommandError("--count must be over 0.")
        self._options = options
        self._names: dict[int, str] = {}
        self._warn_of_missing(options["channel"])
        if self.stdout.isatty() and not options["no_follow"]:
            self.stderr.write("Messages that are published from now on; Ctrl-C ends it.")
        try:
            self._follow(options["count"])
        except KeyboardInterrupt:
            self.stdout.write("")

    def _warn_of_missing(self, channels: list[str]) -> None:
        plain = [each for each in channels if not set("*?[") & set(each)]
        known = set(Channel.objects.filter(name__in=plain).values_list("name", flat=True))
        for each in plain:
            if each not in known:
                text = f"There is no channel {each!r} yet: its messages are shown once it exists."
                self.stderr.write(self.style.WARNING(text))

    def _follow(self, count: int | None) -> None:
        shown = 0
        for entry in self._entries():
            record = self._record(entry)
            if not self._is_wanted(record, entry):
                continue
            self._show(record, entry)
            shown += 1
            if shown == count:
                return

    def _entries(self) -> Iterator[Entry]:
        """Yield the log's entries from where it begins, and new ones until it is ended."""
        known = log.DATABASE.follow()
        if since := self._options["since"]:
            moment = timezone.now() - duration("--since", since, "smhd")
            known = log.Known(log.position_at(moment))
        elif self._options["no_follow"]:
            known = log.Known(0)
        while True:
            look = log.DATABASE.look(known, None, ROWS)
            if not look.is_same:
                self.stderr.write(self.style.WARNING("The log has another history."))
                known = look.head
                continue
            yield from look.entries
            if look.waits:
                log.sequence()
            if len(look.entries) == ROWS:
                last = look.entries[-1]
                known = look.head._replace(position=last.position, stamp=last.stamp)
                continue
            known = look.head
            if self._options["no_follow"] and not look.waits:
                return
            if not look.waits:
                time.sleep(self._options["interval"])

    def _record(self, entry: Entry) -> dict[str, Any]:
        owner = usernames([entry.owner]).get(entry.owner) if entry.owner is not None else None
        return {
            "position": entry.position,
            "at": None if entry.created_at is None else entry.created_at.isoformat(),
            "channel": self._channel(entry.channel),
            "type": entry.type,
            "listener": None if entry.listener is None else _listener(entry.listener),
            "owner": owner,
            "payload": json.loads(entry.payload),
        }

    def _channel(self, key: int) -> str:
        if key not in self._names:
            row = Channel.objects.filter(pk=key).first()
            self._names[key] = "" if row is None else row.name
        return self._names[key]

    def _is_wanted(self, record: dict[str, Any], entry: Entry) -> bool:
        options = self._options
        channels, type = options["channel"], options["type"]
        return (
            entry.channel != NO_CHANNEL
            and entry.type not in CONTROLS
            and (not channels or any(fnmatchcase(record["channel"], each) for each in channels))
            and (type is None or fnmatchcase(entry.type, type))
            and (options["match"] is None or options["match"] in _text(record["payload"]))
            and options["listener"] in (None, record["listener"])
            and options["owner"] in (None, record["owner"])
        )

    def _show(self, record: dict[str, Any], entry: Entry) -> None:
        if self._options["json"]:
            self.stdout.write(json.dumps(record))
        else:
            style, text = self.style, printable(_text(record["payload"])[:SHOWN])
            if not self._options["no_color"]:
                text = highlighted(self.stdout, text)
            to = f"→{record['listener']} " if record["listener"] else ""
            to = f"→@{record['owner']} " if record["owner"] else to
            at = "" if entry.created_at is None else _local(entry.created_at)
            channel, type = printable(record["channel"]), printable(record["type"])
            self.stdout.write(
                f"{style.HTTP_NOT_MODIFIED(at)} {style.MIGRATE_HEADING(channel)} "
                f"{style.SUCCESS(type)} {style.WARNING(printable(to))}{text}"
            )
        self.stdout.flush()


def _listener(key: int) -> str:
    return Listener.objects.filter(pk=key).values_list("name", flat=True).first() or ""


def _local(at: datetime) -> str:
    at = timezone.localtime(at) if timezone.is_aware(at) else at
    return at.isoformat(timespec="milliseconds")[11:23]


def _text(payload: Any) -> str:
    # As people read it: text of other languages without escapes.
    return json.dumps(payload, ensure_ascii=False)
