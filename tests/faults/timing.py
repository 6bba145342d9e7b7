"""Measures publishing: python -m tests.faults.timing COUNT; prints milliseconds as JSON."""

from __future__ import annotations

import json
import sys
import time

import django

# Seconds between two calls: enough for the notifier to send a wake for each.
GAP_S = 0.003


def main(count: str) -> None:
    django.setup()
    from eric_sse_django.shortcuts import channel, publish

    channel("timing")
    taken_ms = []
    for number in range(int(count) + 20):
        began = time.perf_counter()
        publish("timing", "number", number)
        taken_ms.append((time.perf_counter() - began) * 1_000)
        time.sleep(GAP_S)
    print(json.dumps(taken_ms[20:]))  # the first calls open connections and start threads


if __name__ == "__main__":
    main(*sys.argv[1:])
