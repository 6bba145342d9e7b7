"""
Runs, beside a response that keeps nothing and the same over Redis, in one run.

    python -m benchmarks.runs [--runs 200] [--per-s 50] [--seconds 10] [--rounds 3] [--out DIR]

Each way produces as many runs at once, each with one client: a StreamingHttpResponse whose view
produces them and keeps nothing; a list of Redis for each run, with pub/sub as the signal, as the
package resumable-stream for Node does it, by redis.asyncio; and runs, on PostgreSQL with Redis for
the wakes and on SQLite. The last three have a separate process that produces. Exits with 1 if a
client lost or repeated a token.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import signal
import sys
from pathlib import Path

from benchmarks.runs import report
from benchmarks.runs.measuring import Measured, attaching, measure
from benchmarks.runs.ways import WAYS
from benchmarks.server import CLIENT_CORE
from benchmarks.servers import Servers


def main() -> int:
    options = _options()
    os.sched_setaffinity(0, {CLIENT_CORE})
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that all servers end too
    gc.disable()  # else the readers' pauses are part of the figures
    ways = [way for way in WAYS if any(part in way.name for part in options.ways)]
    found: list[Measured] = []
    with Servers() as servers:
        for number in range(options.rounds):
            for way in ways:
                _print(f"{way.name}, round {number + 1} of {options.rounds}")
                count = int(options.per_s * options.seconds)
                found.append(measure(servers, way, options.runs, options.per_s, count))
                _print(str(found[-1]))
        for way in ways:
            if way.keeps and options.attach:
                attached = attaching(servers, way, options.attach)
                _print(str(attached))
                found.append(attached)
    text = report.markdown(found)
    print(text)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "runs.md").write_text(text)
        rows = [{"way": each.way, **each.figures} for each in found]
        (options.out / "runs.json").write_text(json.dumps(rows, indent=2))
    return int(any(each.wrong for each in found))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.runs", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--runs", type=int, default=200, help="runs at once (200)")
    parser.add_argument("--per-s", type=float, default=50.0, help="tokens a second of each (50)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of producing (10)")
    parser.add_argument("--rounds", type=int, default=3, help="the median is shown (3)")
    parser.add_argument("--ways", nargs="+", default=[""], help="texts that their names contain")
    parser.add_argument(
        "--attach", type=int, default=5_000, help="tokens of a finished run to attach to (5,000)"
    )
    parser.add_argument("--out", type=Path, help="write runs.md and runs.json to this directory")
    return parser.parse_args()


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
