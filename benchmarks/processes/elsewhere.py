"""The cost of a message for each process, with and without its listeners."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.client import Crowd
from benchmarks.processes.fleet import Fleet, publishing
from benchmarks.processes.span import Span, during
from benchmarks.servers import Servers

# One publishes and serves a listener; one serves a listener; one has a stream of another channel.
NAMES = (
    "the publisher's, with a listener",
    "another with a listener",
    "streams of other channels only",
    "no stream",
)
PUBLISHER, CONCERNED, OTHER, _ = range(4)
# What carries the wakes, and the settings for it.
FABRICS: dict[str, dict[str, Any]] = {
    "Redis, nothing carried": {"WAKES_CARRY": "nothing"},
    "Redis, channels": {"WAKES_CARRY": "channels"},
    "Redis, messages": {"WAKES_CARRY": "messages"},
    "NATS, channels": {"WAKES_CARRY": "channels"},
    "NATS, messages": {"WAKES_CARRY": "messages"},
}
# The processes of the servers whose CPU is reported, beside PostgreSQL's.
CARRIERS = {"Redis": "redis-server", "NATS": "nats-server"}
PATIENCE_S = 120.0
PACE = 50.0
# Seconds that the work after the last wake may take.
SETTLE_S = 0.3


@dataclass(frozen=True)
class Elsewhere:
    """The cost of one message for a process, without the cost of idling."""

    fabric: str
    process: str
    pace: str
    cpu_us: float
    statements: float | None = None

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def settings_of(servers: Servers, fabric: str) -> dict[str, Any]:
    """Return ERIC_SSE for a fabric; starts NATS."""
    if carrier_of(fabric) != "NATS":
        return FABRICS[fabric]
    return FABRICS[fabric] | {"FABRIC": servers.nats()}


def carrier_of(fabric: str) -> str:
    """Return the name of a fabric's server."""
    return fabric.partition(",")[0]


def run(servers: Servers, fabric: str, messages: int, per_s: float = PACE) -> list[Elsewhere]:
    """Publish at a pace, then at full speed; return the cost for each process."""
    carrier = CARRIERS[carrier_of(fabric)]
    with Fleet(servers, len(NAMES), settings_of(servers, fabric)) as fleet:
        here, there = fleet.prepare("loud", 2)
        (other,) = fleet.prepare("quiet", 1)
        publisher = fleet.servers[PUBLISHER]
        with (
            Crowd(publisher.port, 1 + 2 * messages) as crowd,
            Crowd(fleet.servers[CONCERNED].port, 1 + 2 * messages) as concerned,
            Crowd(fleet.servers[OTHER].port, 0) as quiet,
        ):
            crowd.open([here], greets=True)
            concerned.open([there], greets=True)
            quiet.open([other], greets=True)

            def publish(first: int, count: int, pace: float) -> None:
                asked = publisher.ask_meanwhile(publishing("loud", first, count, pace))
                crowd.until(first + count, PATIENCE_S)
                concerned.until(first + count, PATIENCE_S)
                asked.result(PATIENCE_S)
                crowd.read_for(SETTLE_S)

            publish(0, 1, 0)
            idle = during(fleet, carrier, lambda: crowd.read_for(messages / per_s))
            paced = during(fleet, carrier, lambda: publish(1, messages, per_s))
            flat = during(fleet, carrier, lambda: publish(1 + messages, messages, 0))
            if wrong := crowd.wrong() or concerned.wrong():
                raise SystemExit(f"A listener's stream was not right: {wrong}.")
    return [
        *_costs(fabric, idle, paced, messages, f"{per_s:g} a second"),
        *_costs(fabric, idle, flat, messages, "at full speed"),
    ]


def _costs(fabric: str, idle: Span, busy: Span, messages: int, pace: str) -> list[Elsewhere]:
    """Return the cost of a message for each process and the database, without idling."""
    cost = busy.without(idle)
    found = [
        Elsewhere(fabric, name, pace, did.cpu_s / messages * 1e6, did.statements / messages)
        for name, did in zip(NAMES, cost.facts, strict=True)
    ]
    totals = {"PostgreSQL": cost.database_s, carrier_of(fabric): cost.carrier_s}
    return found + [
        Elsewhere(fabric, f"{name}, total", pace, seconds / messages * 1e6)
        for name, seconds in totals.items()
    ]
