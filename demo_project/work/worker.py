"""The worker's loop: it takes the runs that wait, and those whose worker was killed."""

from __future__ import annotations

import logging
import os
import select
import sys
import threading

from django.db import connections

from demo_project.work.channel import TOOK, notify
from demo_project.work.producing import WORKS
from eric_sse_django import runs
from eric_sse_django.runs import Run, RunEnded, RunTaken
from eric_sse_django.runs.leasing import is_free

logger = logging.getLogger(__name__)

# Seconds between two checks for runs, and runs that are produced at once.
CHECK_S = 0.2
MAX_AT_ONCE = 8


def work() -> None:
    """Produce runs until standard input ends: then the process that started this one is gone."""
    print("ready", flush=True)
    threads: dict[int, threading.Thread] = {}
    while not select.select([sys.stdin], [], [], CHECK_S)[0]:
        threads = {key: each for key, each in threads.items() if each.is_alive()}
        free = Run.objects.filter(is_free(), kind__in=WORKS, stop_requested=False)
        for run in free.exclude(pk__in=threads).order_by("pk")[: MAX_AT_ONCE - len(threads)]:
            threads[run.pk] = threading.Thread(target=produce, args=[run], daemon=True)
            threads[run.pk].start()


def produce(run: Run) -> None:
    """Produce one run; note on its page where this worker continues it."""
    try:
        with runs.produce(run) as out:
            notify(run.thread, TOOK, {"run": run.id, "index": out.index, "pid": os.getpid()})
            out.result = WORKS[run.kind](out)
    except (RunTaken, RunEnded):
        pass  # another worker was faster
    except Exception:  # the loop that owns this thread
        logger.exception("the run %s failed", run.id)
    finally:
        connections.close_all()
