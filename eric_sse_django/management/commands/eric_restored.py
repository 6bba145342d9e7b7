"""Has the log go on above all positions that were ever given, after a restore."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from eric_sse_django import log, notifier


class Command(BaseCommand):
    help = "Call it after the database was restored from a backup, before the servers are started "
    help += "again. Positions then go on above all that were ever given, open streams end, and "
    help += "each client gets one eric-reset. It does no harm where nothing went back."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--seen",
            type=int,
            default=0,
            help="A position that somebody had seen before, if it is known: go on above it, too.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        before, _ = log.head()
        lowered = log.lower_what_is_beyond()
        begun = log.begin_history(above=options["seen"])
        notifier.current().wake()
        self.stdout.write(
            f"The log was at {before}, and goes on after {begun.position}. {lowered} cursors and "
            "floors were beyond it, and begin anew."
        )
        self.stdout.write(
            self.style.SUCCESS(
                "Servers that run end their streams when they look at the log next; the clients "
                "reconnect and get one eric-reset."
            )
        )
