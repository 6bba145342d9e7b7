"""
What a full log costs beside an empty one, on PostgreSQL; and what its trim costs publishers.

    python -m benchmarks.growth [--rows 10000000] [--listeners 1000000] [--quick]

Two databases of one server, a process for each; what is measured is done in turns, in rounds,
in the empty one and in the one that grows. Prints a table; with --out it writes growth.md,
growth.json and a picture there, growth.svg.
Takes ten minutes and 6 GB of disk; --quick 2 minutes. Exits with 1 if something was not flat.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.growth import figures, report
from benchmarks.growth.postgres import Production
from benchmarks.growth.sizes import Size
from benchmarks.growth.worker import Worker

OPERATIONS = ("publish", "dispatch", "sequence", "deliver", "pop", "return", "look")
# Publishes a second while the old rows go.
PACE = 50.0
ALONE_S = 5.0
BYTES_A_ROW = 1_000  # with indexes, WAL and what a fill needs for a while

Costs = dict[str, dict[Size, figures.Cost]]
Say = Callable[[str], None]


def main() -> None:
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the server ends too
    _check_disk(options.rows)
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - began:5.0f} s] {line}", file=sys.stderr, flush=True)

    with Production() as server:
        server.create(["log_empty", "log_full"])
        addresses = server.address("log_empty"), server.address("log_full")
        with Worker(addresses[0]) as empty, Worker(addresses[1]) as full:
            for worker in (empty, full):
                worker.call("prepare")
            costs, sizes = _measure(empty, full, options, say)
            trims = []
            if options.trim:
                with Worker(addresses[1]) as trimmer:
                    trims = _trim(full, trimmer, options.trim, say)
    print(report.markdown(costs, sizes, trims))
    if options.out:
        report.write(options.out, costs, sizes, trims)
    if bad := figures.not_flat(costs):
        sys.exit(f"Over {figures.FLAT} x the empty log: {', '.join(bad)}.")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--rows", type=int, help="messages kept at the end (10,000,000)")
    parser.add_argument("--listeners", type=int, help="listeners away at the end (1,000,000)")
    parser.add_argument("--rounds", type=int, help="turns of the two databases (40)")
    parser.add_argument("--times", type=int, default=15, help="of each thing in a turn (15)")
    parser.add_argument("--trim", type=int, help="old rows to remove at the end (1,000,000)")
    parser.add_argument("--out", type=Path, help="write table and picture to this directory")
    parser.add_argument("--quick", action="store_true", help="a tenth of the size")
    options = parser.parse_args()
    tenth = 10 if options.quick else 1
    defaults = {"rows": 10_000_000 // tenth, "rounds": 10 if options.quick else 40}
    for name, value in defaults.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    for name in ("listeners", "trim"):
        if getattr(options, name) is None:
            setattr(options, name, options.rows // 10)
    return options


def _check_disk(rows: int) -> None:
    free, needed = shutil.disk_usage(tempfile.gettempdir()).free, rows * BYTES_A_ROW
    if free < needed:
        sys.exit(
            f"{rows:,} rows take up to {needed / 1e9:.0f} GB below {tempfile.gettempdir()}, where "
            f"{free / 1e9:.0f} GB are free: ask for fewer --rows, or set TMPDIR."
        )


def _measure(
    empty: Worker, full: Worker, options: argparse.Namespace, say: Say
) -> tuple[Costs, dict[str, float]]:
    costs: Costs = {what: {} for what in OPERATIONS}
    before = Size(0, 0)
    for size in figures.steps(options.rows, options.listeners):
        say(f"filling to {size.rows:,} rows and {size.listeners:,} listeners")
        full.call("grow", before, size, options.trim)
        before = size
        empty.call("empty")
        for worker in (empty, full):
            worker.call("stock", options.times * (options.rounds + 2))
            worker.call("settle")
        say(f"measuring: {options.rounds} rounds")
        for number in range(options.rounds + 1):
            for what in OPERATIONS:
                turns = [("empty", empty), ("full", full)]
                found = {}
                for name, worker in turns if number % 2 else reversed(turns):
                    found[name] = worker.call("measure", what, options.times)
                if number:  # the first warms up
                    cost = costs[what].setdefault(size, figures.Cost())
                    cost.empty.append(found["empty"])
                    cost.full.append(found["full"])
        found = {what: round(costs[what][size].ratio(), 2) for what in OPERATIONS}
        say(f"ratios to the empty log: {found}")
    return costs, full.call("bytes_per_row")


def _trim(publisher: Worker, trimmer: Worker, most: int, say: Say) -> list[figures.Trim]:
    """Return what publishing takes while old rows go, as the notifier and as eric_trim do it."""
    found = []
    publisher.begin("publish_paced", PACE, ALONE_S)
    publisher.tell()
    alone = publisher.result()
    for how, gap_s in (("with the notifier's pauses", None), ("flat out", 0.0)):
        say(f"removing {most // 2:,} old rows {how}")
        publisher.begin("publish_paced", PACE, 0.0)
        began = time.monotonic()
        args = (most // 2,) if gap_s is None else (most // 2, gap_s)
        batches = trimmer.call("trim", *args)
        seconds = time.monotonic() - began
        publisher.tell()
        beside = publisher.result()
        found.append(figures.Trim(how, most // 2, seconds, batches, alone, beside))
        say(found[-1].sentence())
    return found


if __name__ == "__main__":
    main()
