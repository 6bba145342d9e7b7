"""What the worker does: it writes an answer, or exports the log to a file."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.conf import settings

from demo_project.work.documentation import answer
from eric_sse_django import runs
from eric_sse_django.models import QueuedMessage
from eric_sse_django.runs import Out, Run

ANSWER, EXPORT = "answer", "export"
# Seconds between two words: as fast as a model writes, and slow enough to kill the worker.
WORD_S = 0.035
# An export of a small log takes as long as one of a large log: its steps, and its seconds.
STEPS, EXPORT_S = 80, 8.0
COLUMNS = ("position", "channel", "type", "payload", "created_at")


def write_answer(out: Out) -> dict[str, int]:
    """Write the words of an answer, from the first that the run does not have."""
    words = answer(out.run.title)
    for word in out.rest_of(words):
        out.write(word)
        if out.wait_for_stop(WORD_S):
            break
    return {"words": len(words)}


def export_log(out: Out) -> dict[str, int]:
    """
    Write the log to a file, step by step; each step is a chunk of the run.

    A chunk has the last position and the size of the file. So another worker cuts off what was
    not noted, and continues there.
    """
    last, size, done = _checkpoint(out.run)
    rows = _rows(out.run.meta["head"])
    total = rows.count()
    step = max(1, total // STEPS)
    pause_s = EXPORT_S * step / max(1, total)
    with file_of(out.run).open("a", newline="", encoding="utf-8") as file:
        file.truncate(size)
        writer = csv.writer(file)
        if not size:
            writer.writerow(COLUMNS)
        while page := list(rows.filter(position__gt=last)[:step]):
            writer.writerows(page)
            file.flush()
            os.fsync(file.fileno())
            last, done = page[-1][0], done + len(page)
            out.send({"position": last, "size": file.tell(), "done": done})
            out.progress(done, total, f"{done} of {total} messages")
            if out.wait_for_stop(pause_s):
                break
    return {"messages": done, "bytes": file_of(out.run).stat().st_size}


def _checkpoint(run: Run) -> tuple[int, int, int]:
    """Return the position, the size of the file and the number of messages that are done."""
    values: Sequence[dict[str, int]] = [chunk.value for chunk in runs.read(run)]
    if not values:
        return 0, 0, 0
    return values[-1]["position"], values[-1]["size"], values[-1]["done"]


def _rows(head: int) -> Any:
    """Return the messages up to a head that every visitor may read."""
    found = QueuedMessage.objects.filter(listener=None, owner=None, position__lte=head)
    return found.order_by("position").values_list(
        *("position", "channel__name", "type", "payload", "created_at")
    )


def file_of(run: Run) -> Path:
    """Return the file of an export, beside the database."""
    folder = Path(str(settings.DATABASES["default"]["NAME"])).parent / "demo_exports"
    folder.mkdir(exist_ok=True)
    return folder / f"{run.id}.csv"


WORKS = {ANSWER: write_answer, EXPORT: export_log}
