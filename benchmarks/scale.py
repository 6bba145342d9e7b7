"""The size of a run: listeners, messages, seconds."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.subject import BARE, OURS, Subject


@dataclass(frozen=True)
class Scale:
    """The full size; quick() is for trying the harness."""

    listeners: int = 1_000
    payload_bytes: int = 200  # as in most of the rivals' own benchmarks
    rounds: int = 3
    # At full speed, to all. Fast subjects get more, so that they take as long as the others.
    messages: int = 200
    messages_of_the_fast: int = 1_000
    paced_messages: int = 50  # at 5 a second
    single_messages: int = 250  # at 50 a second
    # As long as the interval of heartbeats: each idle stream gets one.
    idle_s: float = 15.0
    publishes: int = 2_000
    batches: int = 20  # of 1,000 messages
    waiting: int = 10_000
    dispatches: int = 500
    # Seconds for publishing and receiving in one round.
    patience_s: float = 120.0

    @classmethod
    def quick(cls, listeners: int) -> Scale:
        return cls(
            listeners=listeners,
            rounds=1,
            messages=50,
            messages_of_the_fast=100,
            paced_messages=10,
            single_messages=50,
            idle_s=1.0,
            publishes=100,
            batches=2,
            waiting=1_000,
            dispatches=50,
            patience_s=30.0,
        )

    def flat_out(self, subject: Subject) -> int:
        """Return the number of messages to publish at full speed."""
        return self.messages_of_the_fast if subject.name in (BARE, OURS) else self.messages
