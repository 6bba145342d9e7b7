"""
A long run: python -m tests.faults.soak --minutes 30

500 streams on one server, of which some disconnect and reconnect all the time, while messages of
all kinds are published and removed by retention, and jobs are done. Samples memory, tasks,
threads, files, database connections and rows. Exits with 1 if one of them grew, or a message was
lost. --plot draws the samples into docs/images/ (extra `bench`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path

from tests.faults import samples
from tests.faults.report import Progress, end_like_ctrl_c, lines
from tests.faults.servers import DATABASES, running_servers
from tests.live.asgi_servers import ROOT

RETENTION_S = 60
SETTINGS = {"RETENTION_S": RETENTION_S, "TRIM_INTERVAL_S": 5, "MAX_STREAM_AGE_S": 300}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--database", choices=DATABASES, default="postgres")
    parser.add_argument("--server", default="uvicorn")
    parser.add_argument(
        "--churn", type=float, default=0.2, help="mean seconds between two disconnections"
    )
    parser.add_argument(
        "--pause", type=float, default=1.0, help="mean seconds between transactions"
    )
    parser.add_argument("--plot", action="store_true", help="draw docs/images/soak.svg and .png")
    parser.add_argument(
        "--json", metavar="FILE", help="write the report with all samples to this file"
    )
    return parser.parse_args()


def main() -> int:
    options = arguments()
    end_like_ctrl_c()
    seconds = options.minutes * 60
    with running_servers(options.database, SETTINGS) as servers, Progress() as progress:
        from tests.faults.soaking import Soak, figures, report_of

        every_s = max(1.0, seconds / 360)
        load = (options.churn, options.pause)
        soak = Soak(servers, options.server, options.streams, seconds, every_s, *load, progress)
        verdict = asyncio.run(soak.run())
    flat = figures(seconds, RETENTION_S, options.database)
    not_flat = samples.grown(soak.samples, flat)
    report = report_of(soak, verdict, not_flat)
    if options.json is not None:
        Path(options.json).write_text(json.dumps(report, indent=2) + "\n")
    print("\n".join(lines({name: report[name] for name in report if name != "samples"})))
    if options.plot:
        from tests.faults.plot import plot

        title = f"{options.streams} streams, {options.server}, {options.database}"
        print(*plot(soak.samples, title, ROOT / "docs" / "images"), sep="\n")
    return 0 if verdict.good and not not_flat else 1


if __name__ == "__main__":
    sys.exit(main())
