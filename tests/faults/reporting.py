"""How a publishing process tells what it does: a line of JSON each, before and after."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from django.db import connections


def say(do: str, **more: Any) -> None:
    """
    Write one line to the parent, whole: a pipe takes up to 4096 bytes at once or not at all.

    Straight to the descriptor: a line that a killed process had in a buffer would be lost.
    """
    line = json.dumps({"do": do, "at": time.monotonic(), **more}) + "\n"
    os.write(sys.stdout.fileno(), line.encode())


class RolledBack(Exception):
    """Raised in a transaction to have it rolled back."""


def attempt(keys: Sequence[str], work: Any) -> bool:
    """Run work(), with what it did told before and after; return whether it committed."""
    say("try", keys=list(keys))
    try:
        work()
    except RolledBack:
        say("no")
        return False
    except Exception as error:  # noqa: BLE001 - whatever it is, the judge is to hear of it
        say("error", error=f"{type(error).__name__}: {error}")
        # As Django does between requests: a connection that broke stays broken.
        connections.close_all()
        return False
    say("ok")
    return True
