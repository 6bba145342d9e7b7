"""
Publishing beside a broken channel layer, measured: python -m tests.faults.wakes

Publishes with a layer that is full, dead, slow (2 s a call) or slow and keeping its thread, in
turns with a layer that works at once, and compares the times that publish() took. Of several
rounds the one with the lowest 99th percentile counts, for what else the machine does only adds
to it. Ends with 1 where that is over 1.5 times the working layer's.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

from tests.faults.ground import DATABASES, Ground, ground
from tests.faults.mortal import mortal
from tests.faults.report import Progress, end_like_ctrl_c, write
from tests.live.asgi_servers import ROOT

WORKS = "SwallowingLayer"
LAYERS = (WORKS, "FullLayer", "DeadLayer", "SlowLayer", "BlockingLayer")
MOST = 1.5


def measured(below: Ground, layer: str, count: int) -> list[float]:
    """Return the milliseconds of `count` calls of publish() in a process of its own."""
    backend = json.dumps({"BACKEND": f"tests.live.layers.{layer}"})
    done = subprocess.run(
        mortal([sys.executable, "-m", "tests.faults.timing", str(count)]),
        cwd=ROOT,
        env={**below.environment, "PYTHONPATH": str(ROOT), "ERIC_SSE_TEST_LAYER": backend},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=300,
        check=True,
    )
    times: list[float] = json.loads(done.stdout)
    return times


def percentile(times: list[float], fraction: float) -> float:
    """Return the value under which that fraction of the times lies."""
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(len(ordered) * fraction))]


def summary(rounds: dict[str, list[list[float]]]) -> dict[str, Any]:
    """Return each layer's percentiles in ms, and its 99th as a multiple of the working one's."""
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
    parser.add_argument("--count", type=int, default=500, help="calls a layer and round (500)")
    parser.add_argument("--rounds", type=int, default=6, help="rounds over all layers (6)")
    parser.add_argument("--json", metavar="FILE")
    asked = parser.parse_args()
    end_like_ctrl_c()
    rounds: dict[str, list[list[float]]] = {layer: [] for layer in LAYERS}
    with ground(asked.database) as below, Progress() as progress:
        for number in range(asked.rounds):
            for layer in LAYERS:  # in turns: what else this machine does meets them all
                progress(f"round {number + 1}/{asked.rounds}: {layer}")
                rounds[layer].append(measured(below, layer, asked.count))
    report = {"database": asked.database, "calls_a_round": asked.count, **summary(rounds)}
    write(report, asked.json)
    return 0 if all(report[layer]["p99_times"] <= MOST for layer in LAYERS) else 1


if __name__ == "__main__":
    sys.exit(main())
