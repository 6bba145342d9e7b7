"""What the commands for operators have in common: no traceback for what operators can repair."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError


class OperatorCommand(BaseCommand):
    """Reports a database that fails in one line, and ends when nobody reads its output."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except DatabaseError as error:
            why = str(error).strip() or type(error).__name__
            raise CommandError(f"The database fails: {why}. Run manage.py eric_doctor.") from error
        except UnicodeEncodeError as error:
            raise CommandError(f"An argument is not UTF-8: {error.object!r}.") from error
        except BrokenPipeError:
            # What reads the output has ended, as `head` does. Python would flush it once more.
            if options.get("stdout") is None:
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return None
