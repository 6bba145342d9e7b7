"""
A worker process: python -m tests.faults.runs.worker

It produces the runs that nobody produces, also those whose worker was killed, all at once. Ends
when its standard input ends.
"""

from __future__ import annotations

import select
import sys
import threading
import time
from typing import TYPE_CHECKING

import django

if TYPE_CHECKING:
    from eric_sse_django.runs.models import Run

# Seconds between two checks for runs.
PAUSE_S = 0.1


def main() -> None:
    django.setup()
    from eric_sse_django.runs.leasing import is_free
    from eric_sse_django.runs.models import Run
    from tests.faults.reporting import report_line

    report_line("ready")
    producing: dict[int, threading.Thread] = {}
    while not select.select([sys.stdin], [], [], PAUSE_S)[0]:
        for run in Run.objects.filter(is_free(), stop_requested=False):
            if run.pk not in producing or not producing[run.pk].is_alive():
                producing[run.pk] = threading.Thread(target=produce, args=[run], daemon=True)
                producing[run.pk].start()


def produce(run: Run) -> None:
    """Write the words that the run does not have."""
    from django.db import connections

    from eric_sse_django import runs
    from tests.faults.reporting import report_line
    from tests.live.runs_words import word

    count = run.meta["words"]
    try:
        with runs.produce(run) as out:
            report_line("try", run=run.id, epoch=run.epoch, index=out.index)
            for index in range(out.index, count):
                out.write(word(index))
                if index % 10 == 0:
                    out.progress(index, count)
                time.sleep(run.meta["pause_s"])
            out.result = {"words": count}
    except (runs.RunTaken, runs.RunEnded):
        pass
    except Exception as error:  # noqa: BLE001 - every error is reported to the judge
        report_line("error", error=f"{type(error).__name__}: {error}")
    finally:
        connections.close_all()


if __name__ == "__main__":
    main()
