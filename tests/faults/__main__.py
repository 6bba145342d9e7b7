"""
Kill processes at random moments and count what was lost: python -m tests.faults

    python -m tests.faults --kills 500 --database sqlite
    python -m tests.faults --kills 500 --database postgres --seed 1234 --json report.json
    python -m tests.faults --kills 500 --database postgres --nats --nginx

Two servers, three publishers and two workers are killed (SIGKILL) and started again while
clients listen and reconnect. Exits with 1 if a message was lost, out of order or doubled.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys

from tests.faults.report import Progress, end_like_ctrl_c, write
from tests.faults.servers import DATABASES, running_servers


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--kills", type=int, default=500, help="number of kills (500)")
    parser.add_argument(
        "--seed", default=secrets.token_hex(4), help="of an earlier run, to repeat it"
    )
    parser.add_argument("--database", choices=DATABASES, default="sqlite")
    parser.add_argument("--nats", action="store_true", help="wakes go through NATS, with messages")
    parser.add_argument(
        "--nginx", action="store_true", help="four servers behind nginx instead of two"
    )
    parser.add_argument("--clients", type=int, default=50, help="clients that listen (50)")
    parser.add_argument(
        "--pause", type=float, default=0.1, help="mean seconds between transactions"
    )
    parser.add_argument("--json", metavar="FILE", help="also write the report to this file")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    end_like_ctrl_c()
    print(
        f"seed {options.seed} (--seed {options.seed} repeats the kills at the same moments)",
        flush=True,
    )
    starting = running_servers(options.database, nats=options.nats)
    with starting as servers, Progress() as progress:
        from tests.faults.kills import Play

        play = Play(
            *(servers, options.seed, options.kills, options.clients, options.pause, progress),
            nginx=options.nginx,
        )
        report = asyncio.run(play.run())
    write(report, options.json)
    return 0 if report["verdict"]["good"] else 1


if __name__ == "__main__":
    sys.exit(main())
