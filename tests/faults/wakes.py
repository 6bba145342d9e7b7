"""
Measures publishing with a broken channel layer: python -m tests.faults.wakes

Publishes with a layer that is full, dead, slow (2 s a call) or slow and blocking its thread, in
turns with a layer that works at once, and compares the times of publish(). Of several rounds the
one with the lowest 99th percentile counts, because other load on the machine only adds to it.
Exits with 1 if that is over 1.5 times that of the working layer.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

from tests.faults.ending import ending_with_parent
from tests.faults.report import Progress, end_like_ctrl_c, write
from tests.faults.servers import DATABASES, Servers, running_servers
from tests.live.asgi_servers import ROOT

WORKS = "SwallowingLayer"
LAYERS = (WORKS, "FullLayer", "DeadLayer", "SlowLayer", "BlockingLayer")
MOST = 1.5


def measured(servers: Servers, layer: str, count: int) -> list[float]:
    """Return the milliseconds of `count` calls of publish() in a separate process."""
    backend = json.dumps({"BACKEND": f"tests.live.layers.{layer}"})
    done = subprocess.run(
        ending_with_parent([sys.executable, "-m", "tests.faults.timing", str(count)]),
        cwd=ROOT,
        env={**servers.environment, "PYTHONPATH": str(ROOT), "ERIC_SSE_TEST_LAYER": backend},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=300,
        check=True,
    )
    times: list[float] = json.loads(done.stdout)
    return times


def percentile(times: list[float], fraction: float) -> float:
    """Return the value that this fraction of the times does not exceed."""
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(len(ordered) * fraction))]


def summary(rounds: dict[str, list[list[float]]]) -> dict[str, Any]:
    """Return each layer's percentiles in ms, and the 99th as a multiple of the working layer's."""
    quietest = {
        layer: min(of, key=lambda times: percentile(times, 0.99)) for layer, of in rounds.items()
    }
    p99 = {layer: percentile(times, 0.99) for layer, times in quietest.items()}
    return {
        layer: {
            "p50_ms": round(percentile(times, 0.5), 2),
            "p99_ms": round(p99[layer], 2),
            "p99_times": round(p99[layer] / p99[WORKS], 2),
        }
        for layer, times in quietest.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.wakes")
    parser.add_argument("--database", choices=DATABASES, default="sqlite")
    parser.add_argument(
        "--count", type=int, default=500, help="calls for each layer and round (500)"
    )
    parser.add_argument("--rounds", type=int, default=6, help="rounds over all layers (6)")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    end_like_ctrl_c()
    rounds: dict[str, list[list[float]]] = {layer: [] for layer in LAYERS}
    with running_servers(options.database) as servers, Progress() as progress:
        for number in range(options.rounds):
            for layer in LAYERS:  # in turns, so that other load on the machine affects them all
                progress(f"round {number + 1}/{options.rounds}: {layer}")
                rounds[layer].append(measured(servers, layer, options.count))
    report = {"database": options.database, "calls_a_round": options.count, **summary(rounds)}
    write(report, options.json)
    return 0 if all(report[layer]["p99_times"] <= MOST for layer in LAYERS) else 1


if __name__ == "__main__":
    sys.exit(main())
