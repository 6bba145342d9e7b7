"""The published payloads: a number, the time, and padding. Standard library only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

# Each payload has it once, and nothing else that a server sends.
MARK = b"#"
# CLOCK_MONOTONIC is the same for all processes of a machine.
now_ns = time.monotonic_ns


def payload(number: int, size: int) -> str:
    """Return about `size` characters with the message's number and the current time."""
    return f"#{number} {now_ns()} ".ljust(size, "x")


def publish_all(
    publish: Callable[[str], None], first: int, count: int, size: int, per_s: float
) -> float:
    """
    Publish `count` payloads, `per_s` a second or (0) one after another.

    Returns the seconds from the first call to the end of the last.
    """
    began = time.monotonic()
    for index in range(count):
        if per_s:
            time.sleep(max(0.0, began + index / per_s - time.monotonic()))
        publish(payload(first + index, size))
    return time.monotonic() - began


async def publish_all_async(
    publish: Callable[[str], None], first: int, count: int, size: int, per_s: float
) -> float:
    """As publish_all(), without blocking the event loop."""
    began = time.monotonic()
    for index in range(count):
        pause = began + index / per_s - time.monotonic() if per_s else 0.0
        await asyncio.sleep(max(0.0, pause))
        publish(payload(first + index, size))
    return time.monotonic() - began
