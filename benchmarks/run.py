"""
Fan-out to many listeners: this app beside a bare ASGI app, on the same server, in one run.

    python -m benchmarks.run [--listeners 1000] [--messages 200] [--runs 3]

Prints a table. Exits with 1 if anything was lost, repeated or out of order.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

import django
import psutil
from django.core.management import call_command

from benchmarks import client
from tests.servers import free_port

PAYLOAD = 200  # bytes, as in most of the rivals' own benchmarks
PATIENCE_S = 120.0
SERVERS = {
    "uvicorn": ["-m", "uvicorn", "--log-level", "error", "--port", "{port}", "{app}"],
    "daphne": ["-m", "daphne", "-v", "0", "-p", "{port}", "{app}"],
}
APPS = {"bare": "benchmarks.bare:application", "this app": "benchmarks.durable:application"}


@dataclass
class Figures:
    """What one run measured."""

    deliveries_per_s: float
    cpu_us: float
    kib_per_stream: float
    lost: int
    repeated: int
    disordered: int


async def measure(server: str, app: str, paths: list[str], messages: int) -> Figures:
    """Return the figures of one server process, pinned to one core."""
    port = free_port()
    command = [part.format(port=port, app=APPS[app]) for part in SERVERS[server]]
    process = psutil.Popen([sys.executable, *command])
    try:
        process.cpu_affinity([0])
        await _listening(port)
        await asyncio.to_thread(_publish, port, 0, 1)
        before = process.memory_info().rss
        readers = await client.open_all(port, paths)
        memory = process.memory_info().rss - before
        cpu = sum(process.cpu_times()[:2])
        published = asyncio.create_task(asyncio.to_thread(_publish, port, 1, messages))
        seconds = await client.until(readers, messages, PATIENCE_S)
        await published
        cpu = sum(process.cpu_times()[:2]) - cpu
        total = sum(reader.count for reader in readers)
        expected = messages * len(readers)
        for reader in readers:
            reader.transport.abort()
        return Figures(
            total / seconds,
            cpu / total * 1e6,
            memory / 1024 / len(readers),
            max(0, expected - total),
            max(0, total - expected),
            sum(reader.disordered for reader in readers),
        )
    finally:
        process.kill()
        process.wait()


def _publish(port: int, first: int, count: int) -> None:
    url = f"http://127.0.0.1:{port}/publish/{first}/{count}/{PAYLOAD}"
    subprocess.run(["curl", "-sf", url], check=True, stdout=subprocess.DEVNULL)


async def _listening(port: int) -> None:
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise SystemExit(f"The server did not listen on port {port} within 10 s.")


def prepare(folder: str, listeners: int) -> list[str]:
    """Make the database with its listeners; return the paths of their streams."""
    os.environ["ERIC_SSE_BENCH_DB"] = os.path.join(folder, "bench.sqlite3")
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    django.setup()
    call_command("migrate", verbosity=0)
    from eric_sse_django.shortcuts import (  # noqa: PLC0415 - models are ready only now
        channel,
        listen,
        stream_url,
    )

    channel("ticks")
    # From the head on: what an earlier run left waiting is not this one's.
    streams = [stream_url(listen("ticks"), ticket=True) for _ in range(listeners)]
    return [f"{stream}&last_event_id={2**62}" for stream in streams]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--listeners", type=int, default=1_000)
    parser.add_argument("--messages", type=int, default=200)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    psutil.Process().cpu_affinity([psutil.cpu_count() - 1])
    print(f"{options.listeners} listeners, {options.messages} broadcasts of {PAYLOAD} bytes,")
    print(f"median of {options.runs} runs; {time.strftime('%Y-%m-%d')}")
    broken = False
    with tempfile.TemporaryDirectory() as folder:
        paths = prepare(folder, options.listeners)
        for server in SERVERS:
            broken |= _compare(server, paths, options.messages, options.runs)
    sys.exit(broken)


def _compare(server: str, paths: list[str], messages: int, runs: int) -> bool:
    print(f"\n{server:10} deliveries/s  µs CPU each  KiB/stream  lost  repeated  disordered")
    broken = False
    medians: dict[str, float] = {}
    for app in APPS:
        found = []
        for number in range(runs):
            print(f"  {app}: run {number + 1} of {runs}", file=sys.stderr)
            found.append(asyncio.run(measure(server, app, paths, messages)))
        rate, cpu, memory = (
            statistics.median(getattr(each, name) for each in found)
            for name in ("deliveries_per_s", "cpu_us", "kib_per_stream")
        )
        wrong = ("lost", "repeated", "disordered")
        worst = [max(getattr(each, name) for each in found) for name in wrong]
        medians[app] = rate
        broken |= any(worst) and app != "bare"
        counts = "{:5} {:9} {:11}".format(*worst)
        print(f"{app:10} {rate:12,.0f} {cpu:12.2f} {memory:11.1f} {counts}")
    print(f"{'ratio':10} {medians['this app'] / medians['bare']:12.2f}")
    return broken


if __name__ == "__main__":
    main()
