"""The cost of a stream: opening it, keeping it open, writing to it; and its cost in nginx."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass

import psutil

from benchmarks.processes.fleet import Fleet, cpu_s, publishing
from benchmarks.processes.sequences import Proxied
from benchmarks.servers import Servers

# Streams opened before the measured ones, so that one-time costs are not counted.
FIRST = 20
# Seconds in which the delayed work of opening (presence, cursors) is done.
SETTLE_S = 2.5
# Slow enough that each broadcast is a separate write, and each cursor is written each time.
BROADCASTS = 10
BROADCAST_S = 1.5
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Opening:
    """The cost of each stream, of one process behind nginx."""

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


def run(servers: Servers, streams: int, idle_s: float) -> Opening:
    """Open streams of listeners through nginx, keep them idle, then broadcast to them slowly."""
    with Fleet(servers, 1) as fleet:
        paths = fleet.prepare("many", FIRST + streams)
        (server,) = fleet.servers
        with Proxied(fleet.port, BROADCASTS + 1) as crowd:
            crowd.open(paths[:FIRST], greets=True)
            server.ask(publishing("many", 0, 1, 0))
            crowd.read_for(SETTLE_S)
            before = _Taken(fleet)
            crowd.open(paths[FIRST:], greets=True)
            crowd.until(1, PATIENCE_S)  # number 0 waits for streams that open later
            crowd.read_for(SETTLE_S)
            opened = _Taken(fleet)
            crowd.read_for(idle_s)
            idled = _Taken(fleet)
            for number in range(BROADCASTS):
                server.ask(publishing("many", 1 + number, 1, 0))
                crowd.read_for(BROADCAST_S)
            delivered = _Taken(fleet)
            if wrong := crowd.wrong():
                raise SystemExit(f"The streams were not right: {wrong}.")
    return _costs(streams, before, opened, idled, delivered)


def _costs(
    streams: int, before: _Taken, opened: _Taken, idled: _Taken, delivered: _Taken
) -> Opening:
    """Return what lies between the four moments, for each stream and delivery."""
    share = (delivered.at - idled.at) / (idled.at - opened.at)
    deliveries = BROADCASTS * (FIRST + streams)

    def delivery_us(name: str) -> float:
        """Return the cost of a delivery, without the cost of idling."""
        then, still, now = (getattr(taken, name) for taken in (opened, idled, delivered))
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
    """The costs so far."""

    def __init__(self, fleet: Fleet) -> None:
        (server,) = fleet.servers
        facts = json.loads(server.ask("/facts"))
        self.at = time.monotonic()
        self.cpu_s: float = facts["cpu_s"]
        self.statements: int = facts["statements"]
        self.database_s, self.nginx_s = cpu_s("postgres"), cpu_s("nginx")
        self.server_kib = server.resident_kib()
        family = psutil.Process().children(recursive=True)
        # Unique set size: memory that its processes share is not counted several times.
        self.nginx_kib = sum(
            each.memory_full_info().uss / 1_024 for each in family if each.name() == "nginx"
        )
