"""Measuring one way: its delays and its costs, as its clients and the kernel see them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from array import array
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import psutil

from benchmarks.client import Crowd, Reader
from benchmarks.processes.fleet import cpu_s
from benchmarks.runs.ways import Way
from benchmarks.server import PR_SET_PDEATHSIG, ROOT, SERVER_CORE, Server, _libc, environment_of
from benchmarks.servers import Servers
from benchmarks.tally import Wrong
from tests.chunked import ChunkedDecoder

# Seconds between the answer of the last stream and the first token; and between the first tokens
# of the first and the last run, so that they do not come all at once.
AHEAD_S, SPREAD_S = 0.5, 4.0
PATIENCE_S = 60.0
ATTACHES = 30
# The last event of each way.
LAST = (b"run-finished", b"DONE")


@dataclass(frozen=True)
class Measured:
    """The figures of one way in one round."""

    way: str
    figures: dict[str, float] = field(default_factory=dict)
    wrong: Wrong = field(default_factory=Wrong)

    def __str__(self) -> str:
        figures = ", ".join(f"{name} {value:,.2f}" for name, value in self.figures.items())
        return f"{self.way}: {figures}{f', {self.wrong}' if self.wrong else ''}"


class RunCrowd(Crowd):
    """As Crowd; it also notes when the first token and each later piece arrived."""

    def __init__(self, port: int, expected: int) -> None:
        super().__init__(port, expected, timed=True)
        self.firsts_ns, self.gaps_ns = array("q"), array("q")
        self._last: dict[Reader, int] = {}

    def _take(self, reader: Reader, at_ns: int, piece: bytes) -> int:
        before = len(self.delays_ns)
        found = super()._take(reader, at_ns, piece)
        if found:
            if reader not in self._last:
                self.firsts_ns.append(self.delays_ns[before])
            else:
                self.gaps_ns.append(at_ns - self._last[reader])
            self._last[reader] = at_ns
        return found

    def __enter__(self) -> RunCrowd:
        super().__enter__()
        return self


class Worker:
    """The process that produces; a context manager."""

    def __init__(self, way: Way, environment: dict[str, str]) -> None:
        self._command = [sys.executable, "-m", "benchmarks.runs.worker", way.kind]
        self._environment = environment_of(way.subject, environment)
        self._asking = ThreadPoolExecutor(1)

    def __enter__(self) -> Worker:
        def in_child() -> None:
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            os.sched_setaffinity(0, {SERVER_CORE})

        self._process = psutil.Popen(
            self._command,
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            preexec_fn=in_child,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._asking.shutdown()

    def ask(self, do: str, **more: Any) -> Any:
        print(json.dumps({"do": do, **more}), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def ask_meanwhile(self, do: str, **more: Any) -> Future[Any]:
        return self._asking.submit(self.ask, do, **more)

    def cpu_s(self) -> float:
        return float(sum(self._process.cpu_times()[:2]))


def measure(servers: Servers, way: Way, runs: int, per_s: float, count: int) -> Measured:
    """Produce as many runs at once, each read by one client."""
    environment = servers.environment(way.subject, sys.executable, redis=way.redis)
    with (
        Server(way.subject, sys.executable, environment) as server,
        Worker(way, environment) as worker,
        RunCrowd(server.port, count) as crowd,
    ):
        worker.ask("rows")  # it is ready
        paths = [] if way.kind == "direct" else worker.ask("prepare", runs=runs)
        # As long as opening all streams may take, at half a millisecond each.
        begin = time.monotonic() + AHEAD_S + runs / 100
        starts = [begin + number * SPREAD_S / runs for number in range(runs)]
        crowd.open(paths or [f"/direct/{at}/{count}/{per_s}" for at in starts], way.greets)
        crowd.read_for(max(0.0, begin - AHEAD_S / 2 - time.monotonic()))
        before = _costs(server, worker)
        work = {"starts": starts, "count": count, "per_s": per_s}
        asked = None if way.kind == "direct" else worker.ask_meanwhile("produce", **work)
        crowd.until(count, count / per_s + PATIENCE_S)
        if asked is not None:
            asked.result(PATIENCE_S)
        after = _costs(server, worker)
        rows = 0 if way.kind == "direct" else worker.ask("rows")
    tokens = runs * count
    figures = {
        "first token ms": median(crowd.firsts_ns) / 1e6,
        "first token p99 ms": _percentile(crowd.firsts_ns, 0.99) / 1e6,
        "delay p50 ms": median(crowd.delays_ns) / 1e6,
        "delay p99 ms": _percentile(crowd.delays_ns, 0.99) / 1e6,
        "between p50 ms": median(crowd.gaps_ns) / 1e6,
        "between p99 ms": _percentile(crowd.gaps_ns, 0.99) / 1e6,
        "server µs a token": (after[0] - before[0]) / tokens * 1e6,
        "worker µs a token": (after[1] - before[1]) / tokens * 1e6,
        "server and worker µs a token": sum(after[:2]) / tokens * 1e6
        - sum(before[:2]) / tokens * 1e6,
        "database µs a token": (after[2] - before[2]) / tokens * 1e6,
        "rows a second of a run": rows / runs / (count / per_s),
    }
    return Measured(way.name, figures, crowd.wrong())


def attaching(servers: Servers, way: Way, count: int) -> Measured:
    """Return how long it takes to get all of a finished run."""
    environment = servers.environment(way.subject, sys.executable, redis=way.redis)
    with (
        Server(way.subject, sys.executable, environment) as server,
        Worker(way, environment) as worker,
    ):
        path = worker.ask("fill", count=count)
        found = [_attach(server.port, path, count) for _ in range(ATTACHES)]
        rows = worker.ask("rows")
    figures = {
        "attach ms": median(found) * 1e3,
        "attach first ms": found[0] * 1e3,
        "attach max ms": max(found) * 1e3,
        "rows of the run": float(rows),
    }
    return Measured(f"{way.name}, finished", figures)


def _attach(port: int, path: str, count: int) -> float:
    """Return the seconds from a request to the stream's last event."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
        connection.sendall(request.encode())
        found = b""
        while not any(last in found[-4_096:] for last in LAST):
            piece = connection.recv(1 << 20)
            if not piece:
                raise RuntimeError(f"the stream ended early: {found[-300:]!r}")
            found += piece
    took_s = time.monotonic() - began
    # A chunk of HTTP may end anywhere.
    found = ChunkedDecoder().feed(found.partition(b"\r\n\r\n")[2])
    if found.count(b" word ") != count:
        raise RuntimeError(f"{found.count(b' word ')} tokens instead of {count}")
    return took_s


def _costs(server: Server, worker: Worker) -> tuple[float, float, float]:
    database = cpu_s("postgres") + cpu_s("redis-server") + cpu_s("valkey-server")
    return server.cpu_s(), worker.cpu_s(), database


def _percentile(values: Sequence[int], part: float) -> float:
    ordered = sorted(values)
    return float(ordered[min(len(ordered) - 1, int(part * len(ordered)))])
