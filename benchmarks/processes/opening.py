"""What a stream takes: to be opened, to be kept open, to be written to; and in nginx."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass

import psutil

from benchmarks.ground import Ground
from benchmarks.processes.fleet import Fleet, cpu_s, publishing
from benchmarks.processes.sequences import Proxied

# Streams before those that are counted: what a process needs once is not a stream's.
FIRST = 20
# Seconds in which what opening left to do (presence, cursors) is done.
SETTLE_S = 2.5
# So slowly that each stream takes a write for each, and each cursor is written each time.
BROADCASTS = 10
BROADCAST_S = 1.5
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Opening:
    """What each stream took, of one process behind nginx."""

    streams: int
    open_cpu_us: float
    open_database_us: float
    open_statements: float
    open_nginx_us: float
    server_kib: float
    nginx_kib: float
    idle_percent: float
    delivery_cpu_us: float
    delivery_nginx_us: float
    cursor_database_us: float

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def run(ground: Ground, streams: int, idle_s: float) -> Opening:
    """Open streams of listeners through nginx, leave them idle, then broadcast to them slowly."""
    with Fleet(ground, 1) as fleet:
        paths = fleet.prepare("many", FIRST + streams)
        (server,) = fleet.servers
        with Proxied(fleet.port, BROADCASTS + 1) as crowd:
            crowd.open(paths[:FIRST], greets=True)
            server.ask(publishing("many", 0, 1, 0))
            crowd.read_for(SETTLE_S)
            before = _Taken(fleet)
            crowd.open(paths[FIRST:], greets=True)
            crowd.until(1, PATIENCE_S)  # who came later finds number 0 waiting
            crowd.read_for(SETTLE_S)
            opened = _Taken(fleet)
            crowd.read_for(idle_s)
            idled = _Taken(fleet)
            for number in range(BROADCASTS):
                server.ask(publishing("many", 1 + number, 1, 0))
                crowd.read_for(BROADCAST_S)
            told = _Taken(fleet)
            if wrong := crowd.wrong():
                raise SystemExit(f"The streams were not right: {wrong}.")
    share = (told.at - idled.at) / (idled.at - opened.at)
    deliveries = BROADCASTS * (FIRST + streams)

    def delivery_us(name: str) -> float:
        """Return what a delivery took, less what silence does."""
        then, still, now = (getattr(taken, name) for taken in (opened, idled, told))
        return float(now - still - (still - then) * share) / deliveries * 1e6

    return Opening(
        streams,
        (opened.cpu_s - before.cpu_s) / streams * 1e6,
        (opened.database_s - before.database_s) / streams * 1e6,
        (opened.statements - before.statements) / streams,
        (opened.nginx_s - before.nginx_s) / streams * 1e6,
        (opened.server_kib - before.server_kib) / streams,
        (opened.nginx_kib - before.nginx_kib) / streams,
        (idled.cpu_s - opened.cpu_s) / (idled.at - opened.at) * 100,
        delivery_us("cpu_s"),
        delivery_us("nginx_s"),
        delivery_us("database_s"),
    )


class _Taken:
    """What has been taken so far."""

    def __init__(self, fleet: Fleet) -> None:
        (server,) = fleet.servers
        facts = json.loads(server.ask("/facts"))
        self.at = time.monotonic()
        self.cpu_s: float = facts["cpu_s"]
        self.statements: int = facts["statements"]
        self.database_s, self.nginx_s = cpu_s("postgres"), cpu_s("nginx")
        self.server_kib = server.resident_kib()
        family = psutil.Process().children(recursive=True)
        # Unique: what its processes share is there once.
        self.nginx_kib = sum(
            each.memory_full_info().uss / 1_024 for each in family if each.name() == "nginx"
        )
