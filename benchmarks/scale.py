"""The size of a run: listeners, messages, seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """The full size; quick() is for trying the harness."""

    listeners: int = 1_000
    payload_bytes: int = 200  # as in most of the rivals' own benchmarks
    rounds: int = 3
    messages: int = 400  # at full speed, to all
    paced_messages: int = 50  # at 5 a second
    single_messages: int = 250  # at 50 a second
    # As long as the interval of heartbeats: each idle stream gets one.
    idle_s: float = 15.0
    publishes: int = 2_000
    batches: int = 20  # of 1,000 messages
    waiting: int = 10_000
    rest_s: float = 1.0  # between publishing these and the first listener
    dispatches: int = 500
    # Seconds for publishing and receiving in one round.
    patience_s: float = 120.0

    @classmethod
    def quick(cls, listeners: int) -> Scale:
        return cls(
            listeners=listeners,
            rounds=1,
            messages=50,
            paced_messages=10,
            single_messages=50,
            idle_s=1.0,
            publishes=100,
            batches=2,
            waiting=1_000,
            dispatches=50,
            patience_s=30.0,
        )
