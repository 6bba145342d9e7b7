"""
Kill processes at random moments and count what was lost: python -m tests.faults

    python -m tests.faults --kills 500 --database sqlite
    python -m tests.faults --kills 500 --database postgres --seed 1234 --json report.json

Two servers, three publishers and two workers are killed (SIGKILL) and started again while
clients listen and come back. Ends with 1 on any message lost, out of order or doubled.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys

from tests.faults.ground import DATABASES, ground
from tests.faults.report import Progress, end_like_ctrl_c, write


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--kills", type=int, default=500, help="how many (500)")
    parser.add_argument("--seed", default=secrets.token_hex(4), help="of an earlier run: again")
    parser.add_argument("--database", choices=DATABASES, default="sqlite")
    parser.add_argument("--clients", type=int, default=50, help="how many listen (50)")
    parser.add_argument("--pause", type=float, default=0.1, help="mean s between transactions")
    parser.add_argument("--json", metavar="FILE", help="write the report there too")
    return parser.parse_args()


def main() -> int:
    asked = arguments()
    end_like_ctrl_c()
    print(f"seed {asked.seed} (--seed {asked.seed} kills at the same moments again)", flush=True)
    with ground(asked.database) as below, Progress() as progress:
        from tests.faults.kills import Play

        play = Play(below, asked.seed, asked.kills, asked.clients, asked.pause, progress)
        report = asyncio.run(play.run())
    write(report, asked.json)
    return 0 if report["verdict"]["good"] else 1


if __name__ == "__main__":
    sys.exit(main())
