"""
A worker of runs: it produces those that wait, and continues those whose worker is gone.

A run's meta has its words, the seconds between two, and before which one it is held, if at all,
until `released` is there. `python -m tests.live.runs_worker`, until it is killed.
"""

from __future__ import annotations

import threading
import time

import django

django.setup()

from django.db import connections  # noqa: E402

from eric_sse_django import runs  # noqa: E402
from eric_sse_django.runs.leasing import is_free  # noqa: E402
from eric_sse_django.runs.models import Run  # noqa: E402
from tests.live.runs_words import word  # noqa: E402


def work(run: Run) -> None:
    """Write the run's words, from the first on that it does not have."""
    try:
        with runs.produce(run) as out:
            for index in range(out.index, run.meta["words"]):
                if index == run.meta.get("held_at"):
                    hold(run, out)
                out.write(word(index))
                out.progress(index + 1, run.meta["words"], f"Word {index}")
                time.sleep(run.meta["pause_s"])
            out.result = {"words": run.meta["words"]}
    except (runs.RunTaken, runs.RunEnded):
        pass
    finally:
        connections.close_all()


def hold(run: Run, out: runs.Out) -> None:
    """Wait until a test releases the run, or stops it."""
    while not Run.objects.filter(pk=run.pk, meta__released=True).exists():
        if out.wait_for_stop(0.02):
            return


def main() -> None:
    """Look for runs, ten times a second."""
    taken = set[int]()
    while True:
        for run in Run.objects.filter(is_free(), stop_requested=False):
            if run.pk not in taken:
                taken.add(run.pk)
                threading.Thread(target=work, args=[run], daemon=True).start()
        time.sleep(0.1)


if __name__ == "__main__":
    main()
