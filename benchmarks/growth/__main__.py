"""
The costs of a full log and of an empty one, on PostgreSQL; and how a trim delays publishers.

    python -m benchmarks.growth [--rows 10000000] [--listeners 1000000] [--quick]

Two databases of one server, a process for each. In rounds, each operation is measured in the
empty database and in the growing one. Prints a table; with --out it also writes growth.md,
growth.json and a picture, growth.svg.
Takes ten minutes and 6 GB of disk; --quick 2 minutes. Exits with 1 if an operation was not flat.
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

OPERATIONS = ("publish", "dispatch", "sequence", "deliver", "pop", "reconnect", "poll")
# Publishes a second while old rows are removed.
PACE = 50.0
ALONE_S = 5.0
BYTES_A_ROW = 1_000  # with indexes, WAL and the temporary space of a fill

Costs = dict[str, dict[Size, figures.Cost]]
Show = Callable[[str], None]


def main() -> None:
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the server ends too
    _check_disk(options.rows)
    began = time.monotonic()

    def show(line: str) -> None:
        print(f"[{time.monotonic() - began:5.0f} s] {line}", file=sys.stderr, flush=True)

    with Production() as server:
        server.create(["log_empty", "log_full"])
        addresses = server.address("log_empty"), server.address("log_full")
        with Worker(addresses[0]) as empty, Worker(addresses[1]) as full:
            for worker in (empty, full):
                worker.call("prepare")
            costs, sizes = _measure(empty, full, options, show)
            trims = []
            if options.trim:
                with Worker(addresses[1]) as trimmer:
                    trims = _trim(full, trimmer, options.trim, show)
    print(report.markdown(costs, sizes, trims))
    if options.out:
        report.write(options.out, costs, sizes, trims)
    if bad := figures.not_flat(costs):
        sys.exit(f"Over {figures.FLAT} x the empty log: {', '.join(bad)}.")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--rows", type=int, help="messages stored at the end (10,000,000)")
    parser.add_argument("--listeners", type=int, help="listeners offline at the end (1,000,000)")
    parser.add_argument("--rounds", type=int, help="turns of the two databases (40)")
    parser.add_argument(
        "--times", type=int, default=15, help="runs of each operation in a turn (15)"
    )
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
            f"{free / 1e9:.0f} GB are free: use fewer --rows, or set TMPDIR."
        )


def _measure(
    empty: Worker, full: Worker, options: argparse.Namespace, show: Show
) -> tuple[Costs, dict[str, float]]:
    costs: Costs = {what: {} for what in OPERATIONS}
    before = Size(0, 0)
    for size in figures.steps(options.rows, options.listeners):
        show(f"filling to {size.rows:,} rows and {size.listeners:,} listeners")
        full.call("grow", before, size, options.trim)
        before = size
        empty.call("empty")
        for worker in (empty, full):
            worker.call("stock", options.times * (options.rounds + 2))
            worker.call("settle")
        show(f"measuring: {options.rounds} rounds")
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
        show(f"ratios to the empty log: {found}")
    return costs, full.call("bytes_per_row")


def _trim(publisher: Worker, trimmer: Worker, most: int, show: Show) -> list[figures.Trim]:
    """Return the times of publishing while the notifier or eric_trim removes old rows."""
    found = []
    publisher.begin("publish_paced", PACE, ALONE_S)
    publisher.stop_task()
    alone = publisher.result()
    for how, gap_s in (("with the notifier's pauses", None), ("at full speed", 0.0)):
        show(f"removing {most // 2:,} old rows {how}")
        publisher.begin("publish_paced", PACE, 0.0)
        began = time.monotonic()
        args = (most // 2,) if gap_s is None else (most // 2, gap_s)
        batches = trimmer.call("trim", *args)
        seconds = time.monotonic() - began
        publisher.stop_task()
        beside = publisher.result()
        found.append(figures.Trim(how, most // 2, seconds, batches, alone, beside))
        show(found[-1].sentence())
    return found


if __name__ == "__main__":
    main()
