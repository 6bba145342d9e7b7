"""A project's channel class that cannot send everything."""

from __future__ import annotations

import time
from typing import Any

from eric_sse_django.database import DatabaseChannel

# Seconds for which it hangs: far more than it may take.
HANGS_S = 60


class Picky(DatabaseChannel):
    def adapt(self, msg: Any) -> Any:
        if msg.payload == "raise":
            raise ArithmeticError
        if msg.payload == "hang":
            time.sleep(HANGS_S)
        return super().adapt(msg)
