"""
A process that publishes: python -m tests.live.publisher CHANNEL FIRST COUNT INTERVAL_S

Publishes the numbers from FIRST on, each in a separate transaction.
"""

import sys
import time

import django


def main(channel_id: str, first: str, count: str, interval_s: str) -> None:
    django.setup()
    from eric_sse_django.shortcuts import publish

    for number in range(int(first), int(first) + int(count)):
        publish(channel_id, "number", number)
        time.sleep(float(interval_s))


if __name__ == "__main__":
    main(*sys.argv[1:])
