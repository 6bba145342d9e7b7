"""What all processes do during some work."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.processes.fleet import Facts, Fleet, cpu_s


@dataclass(frozen=True)
class Span:
    """What all processes did during a time."""

    seconds: float
    facts: list[Facts]
    database_s: float
    carrier_s: float

    def without(self, idle: Span) -> Span:
        """Return it without what as long a time of idling costs."""
        share = self.seconds / idle.seconds
        facts = [
            Facts(did.cpu_s - idled.cpu_s * share, did.statements - idled.statements * share, 0)
            for did, idled in zip(self.facts, idle.facts, strict=True)
        ]
        database_s = self.database_s - idle.database_s * share
        return Span(self.seconds, facts, database_s, self.carrier_s - idle.carrier_s * share)


def during(fleet: Fleet, carrier: str, work: Callable[[], None]) -> Span:
    before, began = fleet.facts(), time.monotonic()
    database_s, carrier_s = cpu_s("postgres"), cpu_s(carrier)
    work()
    seconds = time.monotonic() - began
    database_s, carrier_s = cpu_s("postgres") - database_s, cpu_s(carrier) - carrier_s
    facts = [now.since(then) for now, then in zip(fleet.facts(), before, strict=True)]
    return Span(seconds, facts, database_s, carrier_s)
