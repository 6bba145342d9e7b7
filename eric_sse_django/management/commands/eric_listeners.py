"""Counts or removes the listeners that were offline for a long time."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from eric_sse_django.database.operations import away, remove_listeners
from eric_sse_django.models import Channel

UNITS = {"m": "minutes", "h": "hours", "d": "days"}


class Command(BaseCommand):
    help = "Counts the listeners that were offline for the time of --away: they have no open "
    help += "stream, and since then nothing was delivered to them and listen() was not called for "
    help += "them. With --remove, removes them and their waiting messages."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--away", required=True, help="For example 30d, 12h or 90m.")
        parser.add_argument("--channel", help="Only the listeners of the channel with this id.")
        parser.add_argument("--remove", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        since = timezone.now() - _duration(options["away"])
        channel = options["channel"]
        if channel is not None and not Channel.objects.filter(name=channel).exists():
            raise CommandError(f"There is no channel {channel!r}.")
        rows = away(since, channel)
        if options["remove"]:
            count = remove_listeners(rows)
            self.stdout.write(self.style.SUCCESS(f"{count} listeners removed."))
        else:
            count = rows.count()
            self.stdout.write(f"{count} listeners were offline. With --remove they are removed.")


def _duration(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,6})([mhd])", text)
    if not found or not int(found[1]):
        raise CommandError(f"--away is {text!r}: give a number and m, h or d, for example 30d.")
    return timedelta(**{UNITS[found[2]]: int(found[1])})
