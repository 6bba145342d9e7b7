"""Puts the log's table on PostgreSQL into partitions."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from eric_sse_django import log
from eric_sse_django.log.partitions import conversion


class Command(BaseCommand):
    help = "Prints the SQL that puts the table of the messages (PostgreSQL only) into partitions, "
    help += "which are dropped as a whole when their messages have expired. --apply executes it: "
    help += "publishers and streams wait until PostgreSQL has read the table once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--apply", action="store_true", help="Execute it.")
        parser.add_argument(
            "--size",
            type=int,
            default=5_000_000,
            help="Positions of a partition: about the messages of a day (default: %(default)s).",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        dialect = log.log_dialect()
        if options["size"] < 1_000:
            raise CommandError("--size must be 1000 or more.")
        try:
            statements = conversion(dialect, options["size"])
        except ValueError as error:
            raise CommandError(str(error)) from None
        if not options["apply"]:
            self.stdout.write("\n".join(f"{each};" for each in ("BEGIN", *statements, "COMMIT")))
            return
        alias = dialect.connection.alias
        with transaction.atomic(using=alias), dialect.connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
        self.stdout.write(self.style.SUCCESS("The log is in partitions: restart the servers."))
