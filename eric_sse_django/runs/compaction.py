"""Compaction: the output of a run that ended long ago becomes one message."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from eric_sse_django import conf, log, notifier
from eric_sse_django.entry import CONTROLS, Entry
from eric_sse_django.runs import reading
from eric_sse_django.runs.chunks import CHUNK, ENDS, PROGRESS, Chunk, Group, chunks_of
from eric_sse_django.runs.ending import message
from eric_sse_django.runs.models import Run

# Runs that a pass makes compact.
COMPACTED_AT_ONCE = 100
# Characters of payloads of a run above which it is not: it is in memory meanwhile.
MAX_COMPACTED = 16_777_216
# What a run has instead of a position, if its output is not made compact.
NOT_COMPACTED = 0
# Characters of a message beside its chunks.
FRAME = 100


def interval_s() -> float:
    """Return the seconds between two calls of compact_due() in each process: 0 for never."""
    return float(conf.get("RUNS_COMPACT_AFTER_S") and conf.get("TRIM_INTERVAL_S"))


def compact_due() -> int:
    """Make the output of runs compact that ended RUNS_COMPACT_AFTER_S ago; return how many."""
    after_s = conf.get("RUNS_COMPACT_AFTER_S")
    if not after_s:
        return 0
    due = Run.objects.filter(
        end_position__isnull=True, ended_at__lt=timezone.now() - timedelta(seconds=after_s)
    )
    # Those that failed expire as they are.
    due.filter(status=Run.Status.FAILED).update(end_position=NOT_COMPACTED)
    kept = (Run.Status.FINISHED, Run.Status.STOPPED)
    rows = due.filter(status__in=kept).order_by("ended_at")
    return sum(compact(run) for run in rows[:COMPACTED_AT_ONCE])


def compact(run: Run) -> bool:
    """
    Replace the messages of a run that has ended by one with all of its chunks, and its end.

    More than one, if they are too large. A client that has not got all of them then gets an
    `eric-reset` and the whole. Returns whether that was done.
    """
    found = _entries(run)
    end = found[-1] if found else None
    if end is None or end.type not in ENDS or not _gains(found):
        at = end.position if end is not None else NOT_COMPACTED
        Run.objects.filter(pk=run.pk, end_position__isnull=True).update(end_position=at)
        return False
    drafts = [message(run, CHUNK, payload) for payload in _payloads(found)]
    drafts.append(message(run, end.type, end.payload))
    with transaction.atomic(using=log.database()):
        rows = Run.objects.filter(pk=run.pk, end_position__isnull=True)
        if not rows.update(end_position=end.position):
            return False  # another process was faster
        if not log.replace_own(run.listener, end.position, drafts):
            transaction.set_rollback(True, using=log.database())
            return False
        notifier.ring_on_commit()
    run.end_position = end.position
    return True


def _entries(run: Run) -> list[Entry]:
    """Return the run's messages; none where they are too many."""
    found, size = [], 0
    for entry in reading.entries(run):
        if entry.listener == run.pk and entry.type not in CONTROLS:
            size += entry.size
            if size > MAX_COMPACTED:
                return []
            found.append(entry)
    return found


def _gains(found: list[Entry]) -> bool:
    return sum(entry.type in (CHUNK, PROGRESS) for entry in found) > 1


def _payloads(found: list[Entry]) -> Iterator[str]:
    """Yield the payloads of messages with all chunks, as few as MAX_MESSAGE_BYTES allows."""
    most = conf.get("MAX_MESSAGE_BYTES") - FRAME
    group: Group | None = None
    size, following = 0, 0
    for entry in found:
        for chunk in chunks_of(entry):
            if chunk.index < following:
                continue
            following = chunk.index + 1
            part, bytes_ = _part(chunk)
            is_full = group is not None and size + bytes_ > most
            if group is None or is_full or group.is_text is not chunk.is_text:
                if group is not None:
                    yield group.payload()
                group, size = Group(chunk.index, chunk.is_text), 0
            group.add(part)
            size += bytes_
    if group is not None:
        yield group.payload()


def _part(chunk: Chunk) -> tuple[str, int]:
    """Return a chunk as a group has it, and the bytes that it takes there at most."""
    text = json.dumps(chunk.value, separators=(",", ":"))
    if not chunk.is_text:
        return text, len(text) + 1
    return chunk.value, len(text) + len(str(len(chunk.value)))
