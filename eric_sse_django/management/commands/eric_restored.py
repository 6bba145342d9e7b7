"""After a restore, makes the log continue above all positions that were ever given."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from eric_sse_django import log, notifier


class Command(BaseCommand):
    help = "Run it after you restored the database from a backup, before you start the servers. "
    help += "New positions are then above all earlier ones, open streams end, and each client "
    help += "gets one eric-reset. It is harmless if the database was not restored."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--seen",
            type=int,
            default=0,
            help="A position that clients have seen, if you know one: new positions are above it.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not 0 <= options["seen"] <= log.MAX_POSITION:
            text = f"--seen is {options['seen']}: positions are from 0 to {log.MAX_POSITION}."
            raise CommandError(text)
        before, _ = log.head()
        lowered = log.lower_what_is_beyond()
        begun = log.begin_history(above=options["seen"])
        notifier.current().wake()
        self.stdout.write(
            f"The log was at {before} and continues after {begun.position}. {lowered} cursors and "
            "floors were above its end and were lowered."
        )
        self.stdout.write(
            self.style.SUCCESS(
                "Running servers end their streams when they next read the log; clients reconnect "
                "and get one eric-reset."
            )
        )
