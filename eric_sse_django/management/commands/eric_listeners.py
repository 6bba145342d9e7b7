"""Counts the listeners that were away for long, and removes them."""

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
    help = "Counts the listeners that were away for as long as --away says: no stream of theirs "
    help += "is open, nothing was delivered to them, and no page called listen() for them since. "
    help += "With --remove it removes them and their waiting messages."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--away", required=True, help="Such as 30d, 12h or 90m.")
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
            self.stdout.write(f"{count} listeners were away. With --remove they are removed.")


def _duration(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,6})([mhd])", text)
    if not found or not int(found[1]):
        raise CommandError(f"--away is {text!r}: give a number and m, h or d, such as 30d.")
    return timedelta(**{UNITS[found[2]]: int(found[1])})
