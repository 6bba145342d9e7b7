"""
A worker process: python -m tests.faults.worker

Takes a job from its listener's queue and publishes that it is done, in one transaction: each job
is done once, also if the worker is killed. Ends when its standard input ends and no job is left.
"""

import select
import sys

import django

# Seconds between two checks without a job.
PAUSE_S = 0.05


def main() -> None:
    django.setup()
    from eric_sse_django.exception import NoMessagesException
    from tests.faults.reporting import report_line
    from tests.faults.working import work

    report_line("ready")
    while True:
        ending = bool(select.select([sys.stdin], [], [], 0)[0])
        try:
            work()
        except NoMessagesException:
            if ending:
                return
            select.select([sys.stdin], [], [], PAUSE_S)


if __name__ == "__main__":
    main()
