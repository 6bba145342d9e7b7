"""The functions that a worker can call. Arguments and results are pickled."""

from __future__ import annotations

import time
from multiprocessing.connection import Connection

from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from benchmarks.growth import fill
from benchmarks.growth.costs import MESSAGE, Costs
from benchmarks.growth.sizes import Size
from eric_sse_django import log, notifier
from eric_sse_django.models import QueuedMessage
from eric_sse_django.notifier.trimmer import GAP_S

# Set before the first call.
pipe: Connection = None  # type: ignore[assignment]
_costs: Costs = None  # type: ignore[assignment]


def prepare() -> None:
    """Create tables, channels, and the measured listeners."""
    call_command("migrate", verbosity=0)
    fill.prepare()
    global _costs
    _costs = Costs()


def grow(before: Size, after: Size, expired: int) -> None:
    fill.grow(before, after, expired)


def stock(messages: int) -> None:
    _costs.stock(messages)


def settle() -> None:
    fill.settle()


def empty() -> None:
    """Remove all messages, so that an empty log stays one."""
    notifier.flush()
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {QueuedMessage._meta.db_table}")
    fill.settle()


def measure(what: str, times: int) -> list[float]:
    return _costs.functions[what](times)


def bytes_per_row() -> dict[str, float]:
    return fill.bytes_per_row()


def publish_paced(per_s: float, least_s: float) -> list[float]:
    """
    Publish at a pace until stop_task(), for at least `least_s`; commits are synced to disk.

    Returns the seconds of each call.
    """
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = on")
    took = []
    due = began = time.perf_counter()
    while due - began < least_s or not pipe.poll():
        due += 1 / per_s
        time.sleep(max(0.0, due - time.perf_counter()))
        start = time.perf_counter()
        _costs.channel.broadcast(MESSAGE)
        took.append(time.perf_counter() - start)
    pipe.recv()
    return took


def trim(most: int, gap_s: float = GAP_S) -> list[float]:
    """Remove `most` old messages in batches, as a notifier does; return the seconds of each."""
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = on")
    took, removed = [], 0
    while removed < most:
        began = time.perf_counter()
        batch = log.trim()
        took.append(time.perf_counter() - began)
        if not batch:
            break
        removed += batch
        time.sleep(gap_s)
    return took


def expired() -> int:
    """Return the number of messages whose retention is over."""
    return QueuedMessage.objects.filter(expires_at__lt=timezone.now()).count()
