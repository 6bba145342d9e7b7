"""Reads what eric_export wrote into an empty log."""

from __future__ import annotations

import gzip
import sys
import zlib
from contextlib import nullcontext
from typing import Any

from django.core.management.base import CommandError, CommandParser

from eric_sse_django.database import moving
from eric_sse_django.management.command import OperatorCommand


class Command(OperatorCommand):
    help = "Reads what eric_export wrote into a database whose log is empty. Positions stay the "
    help += "same: clients continue where they were. Import the users first: owners are found by "
    help += "their names."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="The file; - for standard input.")

    def handle(self, *args: Any, **options: Any) -> None:
        name, moved = options["file"], moving.Import()
        try:
            with _opened(name) as lines:
                moved.run(lines)
        except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
            raise CommandError(f"{name} cannot be read: {error}") from error
        except moving.NotMovable as error:
            raise CommandError(str(error)) from error
        for left_out in moved.without_owner:
            self.stderr.write(self.style.WARNING(f"left out, there is no such user: {left_out}"))
        counts = ", ".join(f"{count} {what}" for what, count in moved.counts.items())
        self.stdout.write(self.style.SUCCESS(f"{counts} imported."))


def _opened(name: str) -> Any:
    if name == "-":
        return nullcontext(sys.stdin)
    opened: Any = gzip.open if name.endswith(".gz") else open
    return opened(name, mode="rt", encoding="utf-8")
