"""
Kill the workers and the servers of runs, and compare what clients get: python -m tests.faults.runs

    python -m tests.faults.runs --database sqlite
    python -m tests.faults.runs --database postgres --seed 1234 --json report.json

Two workers produce runs and two servers serve them; both are killed (SIGKILL) and started again.
Each run has three clients, which reconnect: an EventSource, one of the AI SDK's format and one of
AG-UI's. Exits with 1 if a client's text differs from what was produced, or a run does not end.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys

from tests.faults.report import Progress, end_like_ctrl_c, write
from tests.faults.servers import running_servers

# A lease as short as is allowed: most of the time a run waits for it.
SETTINGS = {"RUNS_LEASE_S": 2, "SQLITE_LOOK_INTERVAL_S": 0.05}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.runs", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--runs", type=int, default=50, help="number of runs (50)")
    parser.add_argument("--kills", type=int, default=200, help="of workers and of servers (200)")
    parser.add_argument("--words", type=int, default=300, help="chunks of each run (300)")
    parser.add_argument(
        "--seed", default=secrets.token_hex(4), help="of an earlier run, to repeat it"
    )
    parser.add_argument("--database", choices=("sqlite", "postgres", "mariadb"), default="sqlite")
    parser.add_argument("--json", metavar="FILE", help="also write the report to this file")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    end_like_ctrl_c()
    print(f"seed {options.seed}", flush=True)
    with running_servers(options.database, SETTINGS) as servers, Progress() as progress:
        from tests.faults.runs.play import Play

        play = Play(
            *(servers, options.seed, options.runs, options.kills, options.words),
            show=progress,
        )
        report = asyncio.run(play.run())
    write(report, options.json)
    return 0 if report["verdict"]["good"] else 1


if __name__ == "__main__":
    sys.exit(main())
