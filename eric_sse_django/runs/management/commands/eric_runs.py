"""Ends runs whose producer is gone, makes old output compact, and removes old runs."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from eric_sse_django.database.operations import remove_listeners
from eric_sse_django.models import Listener
from eric_sse_django.runs import compaction, reaping
from eric_sse_django.runs.models import Run

UNITS = {"m": "minutes", "h": "hours", "d": "days"}


class Command(BaseCommand):
    help = "Ends the runs whose producer no longer renews its lease, and makes the output of runs "
    help += (
        "compact that ended RUNS_COMPACT_AFTER_S ago. Processes that publish or stream do this "
    )
    help += "automatically. With --remove, also removes runs that ended long ago."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--remove",
            metavar="AGE",
            help="Remove the runs that ended, or were lost, that long ago: 30d, 12h or 90m.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        age = _duration(options["remove"]) if options["remove"] else None
        reaped, compacted = reaping.reap(), 0
        while count := compaction.compact_due():
            compacted += count
        text = f"{reaped} runs were lost; the output of {compacted} is compact now."
        if age is not None:
            ended = Run.objects.filter(ended_at__lt=timezone.now() - age)
            listeners = Listener.objects.filter(pk__in=ended.values("pk"))
            text += f" {remove_listeners(listeners)} runs were removed."
        self.stdout.write(self.style.SUCCESS(text))


def _duration(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,6})([mhd])", text)
    if not found or not int(found[1]):
        raise CommandError(f"--remove is {text!r}: give a number and m, h or d, for example 30d.")
    return timedelta(**{UNITS[found[2]]: int(found[1])})
