"""
A process that publishes and streams, then forks workers that publish, as Celery does:
python -m tests.live.prefork CHANNEL WORKERS COUNT

Publishes 0, has each worker publish COUNT numbers, and publishes -1. Prints what each worker
has found in itself, as JSON.
"""

import asyncio
import json
import multiprocessing
import os
import sys
import time
import warnings
from typing import Any

import django

django.setup()

from django.db import connections  # noqa: E402 - models need the line above

from eric_sse_django import log, notifier, wakes  # noqa: E402
from eric_sse_django.hub import Hub, all_hubs, totals  # noqa: E402
from eric_sse_django.shortcuts import publish  # noqa: E402

FORK = multiprocessing.get_context("fork")
WAIT_S = 20
together: Any = None  # in a worker: a barrier of all


def meet(others: Any) -> None:
    """In a new worker: keep what has the workers wait for each other."""
    global together
    together = others


def work(channel: str, numbers: list[int]) -> dict[str, Any]:
    """In a worker: return what it has of its parent's, and publish."""
    together.wait(WAIT_S)  # else one worker may do all the work
    found = {
        "pid": os.getpid(),
        "hubs": len(all_hubs()),
        "notifier": notifier.started() is not None,
        "wakes": len(wakes.outages()),
        "opened": totals.sums()[0].opened,
    }
    for number in numbers:
        publish(channel, "number", number)
    return found


def main(channel: str, workers: int, count: int) -> None:
    publish(channel, "number", 0)
    notifier.flush()
    loop = asyncio.new_event_loop()
    hub = loop.run_until_complete(start_hub())  # its threads continue while its loop does not run
    hub.counters.opened += 1
    connections.close_all()
    # Python 3.12 warns of every fork beside a thread; Celery forks all the same.
    warnings.simplefilter("ignore", DeprecationWarning)
    shares = [list(range(1 + n * count, 1 + (n + 1) * count)) for n in range(workers)]
    with FORK.Pool(workers, meet, [FORK.Barrier(workers)]) as pool:
        tasks = [pool.apply_async(work, (channel, share)) for share in shares]
        found = [task.get(WAIT_S) for task in tasks]
        while log.pending().exists():
            time.sleep(0.01)
    publish(channel, "number", -1)
    notifier.flush()
    loop.run_until_complete(Hub.close_all())
    loop.close()
    print(json.dumps(found))


async def start_hub() -> Hub:
    hub = Hub.for_running_loop()
    await hub.ready()
    return hub


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
