"""Writes the log with its channels and listeners, for eric_import in another database."""

from __future__ import annotations

import gzip
import os
from typing import IO, Any

from django.core.management.base import CommandError, CommandParser

from eric_sse_django.database import moving
from eric_sse_django.management.command import OperatorCommand


class Command(OperatorCommand):
    help = "Writes channels, listeners and messages with their positions, as lines of JSON, for "
    help += "eric_import in another database. Stop what publishes before: what is published "
    help += "meanwhile is not in it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="A new file; compressed if it ends in .gz; - for none.")

    def handle(self, *args: Any, **options: Any) -> None:
        name, count = options["file"], 0
        if running := moving.serving():
            text = f"Server processes run ({', '.join(running)}): what is published meanwhile is "
            self.stderr.write(self.style.WARNING(f"{text}not exported. Stop them first."))
        if left := moving.left_behind():
            text = f"Not exported, but their listeners and messages are: {', '.join(left)}."
            self.stderr.write(self.style.WARNING(text))
        if name == "-":
            for line in moving.export():
                self.stdout.write(line)
            return
        try:
            with _created(name) as file:
                for line in moving.export():
                    file.write(f"{line}\n")
                    count += 1
        except FileExistsError:
            raise CommandError(f"{name} exists: remove it, or give another name.") from None
        except OSError as error:
            raise CommandError(f"{name} cannot be written: {error}") from error
        self.stdout.write(self.style.SUCCESS(f"{count} lines written to {name}."))


def _created(name: str) -> IO[str]:
    """Return a new file, which only its owner reads: it has the payloads of all messages."""
    # Exclusive: an earlier export is not overwritten.
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.close(descriptor)
    opened: Any = gzip.open if name.endswith(".gz") else open
    file: IO[str] = opened(name, "wt", encoding="utf-8")
    return file
