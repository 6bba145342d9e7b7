"""Lists listeners, and stops, disconnects or removes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import CommandError, CommandParser
from django.db.models import QuerySet
from django.utils import timezone

from eric_sse_django import reports
from eric_sse_django.database import operations
from eric_sse_django.management.command import OperatorCommand
from eric_sse_django.management.terminal import ago, duration, write_json, write_table
from eric_sse_django.models import Channel, Listener, OpenStream, usernames

# Messages of a queue that are counted, and listeners that are stopped at once.
MAX_WAITING = 1_000
AT_ONCE = 500

COLUMNS = ("channel", "listener", "owner", "state", "waiting", "oldest", "last_seen")
ACTIONS = {"stop": "stopped", "start": "started", "disconnect": "disconnected"}
ACTION_HELP = {
    "stop": "Stop them: their messages wait, and their clients do not reconnect.",
    "start": "Start those that were stopped.",
    "disconnect": "End their streams; their clients reconnect.",
}


class Command(OperatorCommand):
    help = "Lists listeners, or counts those that were offline for the time of --away: they have "
    help += "no open stream, and since then nothing was delivered to them and listen() was not "
    help += "called for them. With --remove, removes them and their waiting messages."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--away", help="Those offline for so long: 30d, 12h or 90m.")
        parser.add_argument("--channel", help="Only the listeners of the channel with this id.")
        parser.add_argument("--listener", help="Only the one with this id; needs --channel.")
        parser.add_argument("--owner", help="Only those of the user with this name.")
        parser.add_argument("--online", action="store_true", help="Only those with a stream.")
        parser.add_argument("--limit", type=int, default=100, help="How many are listed.")
        parser.add_argument("--json", action="store_true", help="Print the list as JSON.")
        actions = parser.add_mutually_exclusive_group()
        actions.add_argument(
            "--remove", action="store_true", help="Remove them and their waiting messages."
        )
        for name, meaning in ACTION_HELP.items():
            actions.add_argument(f"--{name}", action="store_true", help=meaning)

    def handle(self, *args: Any, **options: Any) -> None:
        rows = self._chosen(options)
        action = next((name for name in ACTIONS if options[name]), None)
        narrows = ("away", "channel", "owner", "online")
        if (action or options["remove"]) and not any(options[name] for name in narrows):
            raise CommandError("Name the listeners: --away, --channel, --owner or --online.")
        if options["remove"]:
            count = operations.remove_listeners(rows)
            self.stdout.write(self.style.SUCCESS(f"{count} listeners removed."))
        elif action:
            count = _in_batches(rows, getattr(operations, action))
            self.stdout.write(self.style.SUCCESS(f"{count} listeners {ACTIONS[action]}."))
        elif options["away"] is not None and not options["json"]:
            count = rows.count()
            self.stdout.write(f"{count} listeners were offline. With --remove they are removed.")
        else:
            self._list(rows, options)

    def _chosen(self, options: dict[str, Any]) -> QuerySet[Listener]:
        channel = options["channel"]
        if channel is not None and not Channel.objects.filter(name=channel).exists():
            raise CommandError(f"There is no channel {channel!r}.")
        rows = Listener.objects.all()
        if options["away"] is not None:
            rows = operations.away(timezone.now() - duration("--away", options["away"]), channel)
        elif channel is not None:
            rows = rows.filter(channel__name=channel)
        if options["listener"] is not None:
            if channel is None:
                raise CommandError("--listener needs --channel: ids are of one channel.")
            rows = rows.filter(name=options["listener"])
        if options["owner"] is not None:
            rows = rows.filter(owner=_user(options["owner"]))
        if options["online"]:
            rows = rows.filter(pk__in=OpenStream.objects.online().values("listener"))
        return rows

    def _list(self, rows: QuerySet[Listener], options: dict[str, Any]) -> None:
        limit = max(1, options["limit"])
        some = list(rows.select_related("channel").order_by("channel__name", "name")[:limit])
        found = _described(some)
        if options["json"]:
            write_json(self.stdout, found)
            return
        if not found:
            self.stdout.write("There is no such listener.")
            return
        for each in found:
            waiting = each["waiting"]
            each["waiting"] = f"{MAX_WAITING}+" if waiting > MAX_WAITING else waiting
            each["oldest"], each["last_seen"] = ago(each["oldest"]), ago(each["last_seen"])
        write_table(self.stdout, COLUMNS, [[each[name] for name in COLUMNS] for each in found])
        left = rows.count() - len(some) if len(some) == limit else 0
        if left > 0:
            self.stdout.write(f"{left} more: --limit")


def _user(name: str) -> Any:
    users = get_user_model()
    try:
        return users._default_manager.get_by_natural_key(name).pk
    except users.DoesNotExist:
        raise CommandError(f"There is no user {name!r}.") from None


def _described(rows: list[Listener]) -> list[dict[str, Any]]:
    keys = [row.pk for row in rows]
    streams = OpenStream.objects.online().filter(listener__in=keys)
    online = set(streams.values_list("listener", flat=True))
    owners, depths = usernames(row.owner_id for row in rows), reports.depths(rows, MAX_WAITING)
    return [
        {
            "channel": row.channel.name,
            "listener": row.name,
            "owner": owners.get(row.owner_id),
            "state": _state(row, online),
            "waiting": depths[row.pk].waiting,
            "oldest": depths[row.pk].oldest,
            "last_seen": row.last_seen or row.created_at,
        }
        for row in rows
    ]


def _state(row: Listener, online: set[int]) -> str:
    if not row.running:
        return "stopped"
    return "online" if row.pk in online else "offline"


def _in_batches(rows: QuerySet[Listener], act: Callable[[list[Listener]], int]) -> int:
    """Act on all rows, AT_ONCE in one call; return the sum of what it returns."""
    count, last = 0, 0
    ordered = rows.select_related("channel").order_by("pk")
    while some := list(ordered.filter(pk__gt=last)[:AT_ONCE]):
        count += act(some)
        last = some[-1].pk
    return count
