"""Sends the signal `undelivered` for listeners whose messages have waited for long."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from eric_sse_django.contrib.undelivered.notifying import notify
from eric_sse_django.contrib.undelivered.signals import undelivered
from eric_sse_django.management.terminal import duration
from eric_sse_django.models import Channel


class Command(BaseCommand):
    help = "Sends the signal `undelivered` for each listener that is offline and for which "
    help += "messages have waited for the time of --after: once for each absence. Run it often."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--after", required=True, help="For example 15m, 12h or 90s.")
        parser.add_argument("--channel", help="Only the listeners of the channel with this id.")

    def handle(self, *args: Any, **options: Any) -> None:
        after, channel = duration("--after", options["after"], "smhd"), options["channel"]
        if channel is not None and not Channel.objects.filter(name=channel).exists():
            raise CommandError(f"There is no channel {channel!r}.")
        if not undelivered.has_listeners():
            raise CommandError(
                "Nothing receives the signal: connect a receiver in AppConfig.ready()."
            )
        count = notify(after, channel)
        self.stdout.write(self.style.SUCCESS(f"The signal was sent for {count} listeners."))
