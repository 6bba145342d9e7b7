"""
A process that publishes in all ways: python -m tests.faults.publisher NAME SEED PAUSE_S

It publishes single messages, several in a transaction, and batches, some of them held open, some
rolled back, some to one listener, and jobs for the workers, until its standard input ends.
"""

import random
import select
import sys

import django


def main(name: str, seed: str, pause_s: str) -> None:
    django.setup()
    from tests.faults.reporting import report_line
    from tests.faults.writing import Writer

    chance = random.Random(f"{seed} {name}")
    writer = Writer(name, chance)
    report_line("ready")
    while not select.select([sys.stdin], [], [], chance.uniform(0, 2 * float(pause_s)))[0]:
        writer.write()


if __name__ == "__main__":
    main(*sys.argv[1:])
