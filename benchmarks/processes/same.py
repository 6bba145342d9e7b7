"""Checks that the clients of all processes get the same messages in the same order."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

from benchmarks.processes.fleet import Fleet, publishing
from benchmarks.processes.sequences import Readers, compare
from benchmarks.servers import Servers

PATIENCE_S = 120.0
# Messages a second, all publishers together, when they are paced.
PACE = 10.0


@dataclass(frozen=True)
class Same:
    """The figures for one number of processes, at full speed and paced."""

    processes: int
    streams: list[int]
    lost: int
    repeated: int
    disordered: int
    deliveries_per_s: float
    cpu_us: float
    p50_ms: float
    p99_ms: float

    @property
    def is_right(self) -> bool:
        return not (self.lost or self.repeated or self.disordered)

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def run(servers: Servers, processes: int, clients: int, messages: int) -> Same:
    """
    All processes publish their share at the same time; every client reads through nginx.

    First at full speed, then at a pace, which shows how long a message takes.
    """
    with Fleet(servers, processes) as fleet:
        flat = _publish(fleet, "flat", clients, messages // processes, 0)
        paced = _publish(fleet, "paced", clients, messages // 20 // processes, PACE)
    wrong = flat.wrong + paced.wrong
    return Same(
        processes,
        flat.streams,
        wrong.lost,
        wrong.repeated,
        wrong.disordered,
        flat.deliveries_per_s,
        flat.cpu_us,
        paced.delay_ms(0.5),
        paced.delay_ms(0.99),
    )


class _Found:
    def __init__(self, fleet: Fleet, readers: Readers, each: int) -> None:
        self.wrong = compare(readers.sequences(), len(fleet.servers), each)
        self.streams = [facts.streams for facts in fleet.facts()]
        self.delays_ns = sorted(readers.delays_ns)
        self.deliveries_per_s = self.cpu_us = 0.0

    def delay_ms(self, share: float) -> float:
        if not self.delays_ns:
            return 0.0
        return self.delays_ns[int(share * (len(self.delays_ns) - 1))] / 1e6


def _publish(fleet: Fleet, channel: str, clients: int, each: int, per_s: float) -> _Found:
    paths = fleet.prepare(channel, clients)
    publishers = len(fleet.servers)
    with Readers(fleet.port, each * publishers, timed=True) as readers:
        readers.open(paths, greets=True)
        before, began = fleet.facts(), time.monotonic()
        asked = [
            server.ask_meanwhile(publishing(channel, n * each, each, per_s / publishers))
            for n, server in enumerate(fleet.servers)
        ]
        ended = readers.until(each * publishers, PATIENCE_S)
        after = fleet.facts()
        readers.until_silent()
        for answer in asked:
            answer.result(PATIENCE_S)
        found = _Found(fleet, readers, each)
    deliveries = each * publishers * clients - found.wrong.lost
    cpu_s = sum(now.since(then).cpu_s for now, then in zip(after, before, strict=True))
    found.deliveries_per_s = deliveries / (ended - began)
    found.cpu_us = cpu_s / max(1, deliveries) * 1e6
    return found
