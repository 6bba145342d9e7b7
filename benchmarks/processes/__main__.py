"""
The same stream from every process; the cost of a message for a process without its listeners;
and the cost of a stream.

    python -m benchmarks.processes [--clients 400] [--messages 2000] [--out DIR] [--quick]

Starts 1, 2 and 4 server processes (uvicorn) behind nginx, on PostgreSQL and Redis. All of them
publish at the same time, and every client reads through nginx. `--fabrics` selects what carries
the wakes where the cost of a message is measured: Redis or NATS, with or without the messages.
Prints tables; with --out it also writes them as JSON and Markdown. Takes five minutes. Exits with
1 if a message was lost, repeated, or in another order than for another client.
"""

from __future__ import annotations

import argparse
import gc
import signal
import sys
from pathlib import Path

from benchmarks.processes import elsewhere, growing, opening, report, same
from benchmarks.processes.fleet import SITE
from benchmarks.processes.nginx import Nginx
from benchmarks.servers import Servers
from tests.servers import Nats, Redis


def main() -> None:
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that all servers end too
    for absence in (Servers.absence(SITE), Redis.absence(), Nats.absence(), Nginx.absence()):
        if absence is not None:
            sys.exit(f"{absence}.")
    gc.disable()  # else the readers' pauses are part of the figures
    found = []
    with Servers() as servers:
        for processes in options.processes:
            _print(
                f"{processes} processes, {options.clients} clients, {options.messages} messages"
            )
            found.append(same.run(servers, processes, options.clients, options.messages))
            _print(str(found[-1]))
        costs = []
        for fabric in options.fabrics:
            _print(f"the cost of a message for each process: {fabric}")
            costs += elsewhere.run(servers, fabric, options.messages // 4)
        together = []
        for fabric in [name for name in options.fabrics if "channels" in name]:
            for count in growing.PROCESSES:
                _print(f"the cost of a message for all of {count} processes: {fabric}")
                together.append(growing.run(servers, fabric, count, options.messages // 4))
        _print("the cost of a stream")
        taken = opening.run(servers, 5 * options.clients // 2, options.messages / 100)
    print(report.markdown(found, costs, together, taken))
    if options.out:
        report.write(options.out, found, costs, together, taken)
    if not all(each.is_right for each in found):
        sys.exit("Messages were lost, repeated or out of order: see the table.")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--clients", type=int, help="streams, through nginx (400)")
    parser.add_argument("--messages", type=int, help="by all processes together (2,000)")
    parser.add_argument(
        "--out", type=Path, help="write processes.json and processes.md to this directory"
    )
    parser.add_argument(
        "--fabrics", nargs="+", choices=elsewhere.FABRICS, default=[*elsewhere.FABRICS]
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the size")
    options = parser.parse_args()
    options.clients = options.clients or (40 if options.quick else 400)
    options.messages = options.messages or (200 if options.quick else 2_000)
    return options


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
