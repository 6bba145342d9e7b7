"""The cost of a message for all processes together, the more of these there are."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass

from benchmarks.client import Crowd
from benchmarks.processes.elsewhere import (
    CARRIERS,
    PACE,
    PATIENCE_S,
    SETTLE_S,
    carrier_of,
    settings_of,
)
from benchmarks.processes.fleet import Fleet, publishing
from benchmarks.processes.span import during
from benchmarks.servers import Servers

PROCESSES = (1, 2, 4, 8)


@dataclass(frozen=True)
class Growing:
    """The cost of one message for all server processes, without the cost of idling."""

    fabric: str
    processes: int
    cpu_us: float
    statements: float

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def run(servers: Servers, fabric: str, processes: int, messages: int) -> Growing:
    """Publish at a pace to a stream of one process; each other one has a stream, too."""
    carrier = CARRIERS[carrier_of(fabric)]
    with Fleet(servers, processes, settings_of(servers, fabric)) as fleet, ExitStack() as stack:
        for number, server in enumerate(fleet.servers):
            (path,) = fleet.prepare(f"of-{number}", 1)
            crowd = stack.enter_context(Crowd(server.port, 1 + messages if number == 0 else 0))
            crowd.open([path], greets=True)
            if number == 0:
                loud = crowd

        def publish(first: int, count: int, pace: float) -> None:
            asked = fleet.servers[0].ask_meanwhile(publishing("of-0", first, count, pace))
            loud.until(first + count, PATIENCE_S)
            asked.result(PATIENCE_S)
            loud.read_for(SETTLE_S)

        publish(0, 1, 0)
        idle = during(fleet, carrier, lambda: loud.read_for(messages / PACE))
        busy = during(fleet, carrier, lambda: publish(1, messages, PACE))
        if wrong := loud.wrong():
            raise SystemExit(f"A listener's stream was not right: {wrong}.")
    facts = busy.without(idle).facts
    cpu_s = sum(did.cpu_s for did in facts)
    statements = sum(did.statements for did in facts)
    return Growing(fabric, processes, cpu_s / messages * 1e6, statements / messages)
