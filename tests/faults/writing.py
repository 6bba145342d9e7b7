"""The transactions of a publisher, of different kinds."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable

from django.db import transaction

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.message import Message
from eric_sse_django.shortcuts import publish
from tests.faults.reporting import RolledBack, attempt

CHANNEL, JOBS = "numbers", "jobs"
# Longest time in seconds that a transaction with messages stays open while others commit.
HELD_S = 0.05


def listener_of(key: str) -> str | None:
    """Return the id of the listener that a key's message is for, None for all."""
    return key.split("@")[1] if "@" in key else None


class Writer:
    """Publishes messages {"key": …}, each key once, and reports each transaction."""

    def __init__(self, name: str, chance: random.Random) -> None:
        self._keys = (f"{name}-{number}" for number in itertools.count())
        self._chance = chance
        self._kinds: list[Callable[[], bool]] = [
            *(self.one, self.one, self.one, self.several, self.many),
            *(self.held, self.rolled_back, self.to_one, self.job),
        ]

    def write(self) -> bool:
        """Run one transaction of a random kind; return whether it committed."""
        return self._chance.choice(self._kinds)()

    def one(self) -> bool:
        return self._transaction(1)

    def several(self) -> bool:
        return self._transaction(self._chance.randint(2, 5))

    def held(self) -> bool:
        return self._transaction(2, held_s=self._chance.uniform(0, HELD_S))

    def rolled_back(self) -> bool:
        return self._transaction(2, rolled_back=True)

    def many(self) -> bool:
        keys = self._take(self._chance.randint(5, 15))
        messages = [Message("number", {"key": key}) for key in keys]
        return attempt(keys, lambda: DatabaseChannel.load(CHANNEL).broadcast_many(messages))

    def to_one(self) -> bool:
        listener = f"listener-{self._chance.randint(0, 9)}"
        key = f"{next(self._keys)}@{listener}"
        message = {"key": key}
        return attempt([key], lambda: publish(CHANNEL, "own", message, listener_id=listener))

    def job(self) -> bool:
        key = f"job:{next(self._keys)}"
        return attempt([key], lambda: publish(JOBS, "job", {"key": key}))

    def _take(self, count: int) -> list[str]:
        return list(itertools.islice(self._keys, count))

    def _transaction(self, count: int, held_s: float = 0, rolled_back: bool = False) -> bool:
        keys = self._take(count)

        def work() -> None:
            if count == 1:
                publish(CHANNEL, "number", {"key": keys[0]})
                return
            with transaction.atomic():
                for key in keys:
                    publish(CHANNEL, "number", {"key": key})
                time.sleep(held_s)
                if rolled_back:
                    raise RolledBack

        return attempt(keys, work)
