"""Has the log go on above all positions that were ever given, after a restore."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from eric_sse_django import log, notifier


class Command(BaseCommand):
    help = "Run it after the database was restored from a backup, before you start the servers. "
    help += "New positions are then above all that were ever given, open streams end, and each "
    help += "client gets one eric-reset. It does no harm if the database did not go back."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--seen",
            type=int,
            default=0,
            help="A position that clients have seen, if you know one: new ones are above it.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        before, _ = log.head()
        lowered = log.lower_what_is_beyond()
        begun = log.begin_history(above=options["seen"])
        notifier.current().wake()
        self.stdout.write(
            f"The log was at {before}, and goes on after {begun.position}. {lowered} cursors and "
            "floors were beyond it and were reset."
        )
        self.stdout.write(
            self.style.SUCCESS(
                "Running servers end their streams when they next read the log; clients reconnect "
                "and get one eric-reset."
            )
        )
