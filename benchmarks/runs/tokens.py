"""What is produced: tokens at a pace, each with its number and the time. No Django."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from benchmarks.payload import now_ns


def token(number: int) -> str:
    return f"#{number} {now_ns()} word "


async def tokens(start_at: float, count: int, per_s: float) -> AsyncIterator[str]:
    """Yield `count` tokens from the time.monotonic() `start_at` on, `per_s` a second."""
    for number in range(count):
        pause_s = start_at + number / per_s - time.monotonic()
        if pause_s > 0:
            await asyncio.sleep(pause_s)
        yield token(number)
