"""The reports of a publishing process: a line of JSON before and after each transaction."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from django.db import connections


def report_line(do: str, **more: Any) -> None:
    """
    Write one line to the parent. A pipe accepts up to 4096 bytes as a whole or not at all.

    It is written directly to the descriptor: a line in the buffer of a killed process is lost.
    """
    line = json.dumps({"do": do, "at": time.monotonic(), **more}) + "\n"
    os.write(sys.stdout.fileno(), line.encode())


class RolledBack(Exception):
    """Raised in a transaction to roll it back."""


def attempt(keys: Sequence[str], work: Any) -> bool:
    """Run work(), report before and after it, and return whether it committed."""
    report_line("try", keys=list(keys))
    try:
        work()
    except RolledBack:
        report_line("no")
        return False
    except Exception as error:  # noqa: BLE001 - every error is reported to the judge
        report_line("error", error=f"{type(error).__name__}: {error}")
        # As Django does between requests: a connection that broke stays broken.
        connections.close_all()
        return False
    report_line("ok")
    return True
