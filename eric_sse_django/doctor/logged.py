"""The log: messages that wait, retention, declared channels, and the processes that serve."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta

from django.utils import timezone

from eric_sse_django import conf
from eric_sse_django.database.configured import differences
from eric_sse_django.doctor.finding import Finding, error, good, note, warning
from eric_sse_django.models import Channel, QueuedMessage, ServerProcess

# Seconds after which a committed message must have its position: a pass takes 20 ms.
SEQUENCED_IN_S = 10.0
# Seconds in which it must get it while the doctor looks: the publisher's clock may be late, or its
# transaction was long.
WATCHED_S = 2.0
# Seconds after its expiry in which a message must be removed, beside ten trims.
TRIMMED_IN_S = 3_600.0
# Milliseconds of a process's delay from which on it is slow.
SLOW_MS = 1_000.0


def examine() -> Iterator[Finding]:
    found = [*_unsequenced(), *_untrimmed(), *_channels()]
    yield from found or [good("log.works", "Messages get positions, and old ones are removed.")]
    yield from _processes()


def _unsequenced() -> Iterator[Finding]:
    since = timezone.now() - timedelta(seconds=SEQUENCED_IN_S)
    # In the order of the index of messages without a position.
    oldest = QueuedMessage.objects.filter(position=None).order_by("position", "id").first()
    if oldest is not None and oldest.created_at < since and _stays(oldest.pk):
        yield error(
            "log.unsequenced",
            f"A message has waited for its position since {oldest.created_at:%Y-%m-%d %H:%M:%S}: "
            "no running process gives positions, so nothing after it is delivered.",
            "Start a server with streams, or a process that publishes with threads enabled; and "
            "look for `sequencing` in the log. eric_trim does it once.",
        )


def _stays(key: int) -> bool:
    """Return whether a message still has no position after WATCHED_S."""
    deadline = time.monotonic() + WATCHED_S
    rows = QueuedMessage.objects.filter(pk=key, position=None)
    while rows.exists():
        if time.monotonic() >= deadline:
            return True
        time.sleep(0.1)
    return False


def _untrimmed() -> Iterator[Finding]:
    late_s = TRIMMED_IN_S + 10 * conf.get("TRIM_INTERVAL_S")
    before = timezone.now() - timedelta(seconds=late_s)
    if QueuedMessage.objects.filter(expires_at__lt=before).order_by("expires_at").exists():
        is_off = not conf.get("TRIM_INTERVAL_S")
        yield warning(
            "log.untrimmed",
            f"Messages whose retention ended over {late_s / 3_600:.0f} h ago are still there: "
            "the table grows.",
            "TRIM_INTERVAL_S is 0: run eric_trim from cron."
            if is_off
            else "Run eric_trim, and look for `removing old messages` in the servers' log.",
        )


def _channels() -> Iterator[Finding]:
    declared = conf.channels()
    rows = {row.name: row for row in Channel.objects.filter(name__in=declared)}
    for name, options in declared.items():
        if name not in rows:
            yield error(
                "log.channel_missing",
                f"ERIC_SSE['CHANNELS'] declares the channel {name!r}, which does not exist.",
                "Run manage.py migrate.",
            )
            continue
        for option, (there, asked) in differences(rows[name], options).items():
            yield warning(
                "log.channel_differs",
                f"The channel {name!r} has {option}={there!r}, and ERIC_SSE['CHANNELS'] has "
                f"{asked!r}.",
                "Change the setting, or change the channel in the admin.",
            )


def _processes() -> Iterator[Finding]:
    rows = list(ServerProcess.objects.alive())
    slow = [row for row in rows if row.delay_p99_ms > SLOW_MS]
    for row in slow:
        yield warning(
            "log.slow",
            f"The process {row.name} delivers with a delay of {row.delay_p99_ms:.0f} ms "
            "(99th percentile).",
            "Look at its CPU and the database's, and at eric_sse_wake_delay_seconds; add "
            "processes.",
        )
    if rows and not slow:
        streams = sum(row.streams for row in rows)
        yield good("log.served", f"Server processes: {len(rows)}; their streams: {streams}.")
    if not rows:
        yield note(
            "log.not_served",
            "No process serves streams now.",
            "That is normal while nobody is connected; else start the servers.",
        )
