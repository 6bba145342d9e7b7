"""Shows what is published, delivered and kept, over all processes."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import CommandParser
from django.db.models import Count, Sum

from eric_sse_django import log, reports
from eric_sse_django.management.command import OperatorCommand
from eric_sse_django.management.terminal import ago, check_interval, write_json, write_table
from eric_sse_django.models import Channel, Listener, OpenStream, QueuedMessage, Watchers
from eric_sse_django.monitor.snapshot import Rates, live_processes

# Messages of a channel that are counted, and channels that are shown.
MAX_COUNTED = 100_000

NUMBERS = (
    *("head", "waiting_for_position", "oldest", "messages_last_hour", "messages_last_day"),
    *("channels", "listeners", "online", "watchers"),
)


class Command(OperatorCommand):
    help = "Shows the log, the server processes and the channels: what was published in the last "
    help += "hour and day, who is online, and how late messages are."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--top", type=int, default=20, help="How many channels are shown.")
        parser.add_argument("--json", action="store_true", help="Print a JSON object.")
        parser.add_argument("--watch", type=float, metavar="S", help="Repeat it every S seconds.")

    def handle(self, *args: Any, **options: Any) -> None:
        every_s = options["watch"]
        if every_s is not None:
            check_interval("--watch", every_s)
        rates = Rates()
        try:
            while True:
                self._show(take(rates, max(1, options["top"])), options["json"])
                if every_s is None:
                    return
                time.sleep(every_s)
        except KeyboardInterrupt:
            self.stdout.write("")

    def _show(self, stats: dict[str, Any], as_json: bool) -> None:
        if as_json:
            write_json(self.stdout, stats)
            return
        shown = {**stats, "oldest": ago(stats["oldest"])}
        numbers = [(name.replace("_", " "), shown[name]) for name in NUMBERS]
        write_table(self.stdout, ("", ""), numbers)
        for title in ("processes", "top"):
            rows = stats[title]
            if rows:
                self.stdout.write("")
                write_table(self.stdout, list(rows[0]), [list(row.values()) for row in rows])
        self.stdout.flush()


def take(rates: Rates, top: int) -> dict[str, Any]:
    """Return the numbers: about ten queries, each of them bounded."""
    head, _ = log.head()
    traffic = reports.recent_traffic(head)
    _, pending = reports.flow(head, head, MAX_COUNTED)
    oldest = QueuedMessage.objects.order_by("position").exclude(position=None).first()
    streams, watchers = OpenStream.objects.online(), Watchers.objects.online()
    return {
        "head": head,
        "waiting_for_position": pending,
        "oldest": None if oldest is None else oldest.created_at,
        "messages_last_hour": sum(traffic.hour.values()),
        "messages_last_day": sum(traffic.day.values()),
        "channels": Channel.objects.count(),
        "listeners": Listener.objects.count(),
        "online": streams.aggregate(number=Count("listener", distinct=True))["number"],
        "watchers": watchers.aggregate(number=Sum("streams"))["number"] or 0,
        "processes": [each.as_json() for each in live_processes(rates, time.monotonic())],
        "top": _channels(traffic, top),
    }


def _channels(traffic: reports.Traffic, top: int) -> list[dict[str, Any]]:
    """Return the channels with the most messages of the last day, and the first of the others."""
    busy = sorted(traffic.day, key=lambda key: -traffic.day[key])[:top]
    others = Channel.objects.exclude(pk__in=busy).order_by("name")[: max(0, top - len(busy))]
    rows = {row.pk: row for row in [*Channel.objects.filter(pk__in=busy), *others]}
    listeners = reports.count_listeners(rows, MAX_COUNTED)
    streams = OpenStream.objects.online().filter(listener__channel__in=rows)
    by_channel = streams.values_list("listener__channel")
    online = dict(by_channel.annotate(Count("listener", distinct=True)))
    watchers = Watchers.objects.online().filter(channel__in=rows).values_list("channel")
    watching = dict(watchers.annotate(Sum("streams")))
    return [
        {
            "channel": row.name,
            "last_hour": traffic.hour.get(key, 0),
            "last_day": traffic.day.get(key, 0),
            "listeners": listeners.get(key, 0),
            "online": online.get(key, 0),
            "watchers": watching.get(key, 0),
        }
        for key, row in rows.items()
    ]
