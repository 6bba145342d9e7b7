"""How many streams this process has open: in all, for one user, from one address."""

from __future__ import annotations

import ipaddress
import logging
import os
import random
import threading
from collections import Counter
from types import TracebackType
from typing import Any

from eric_sse_django import conf
from eric_sse_django.quiet import Quiet

logger = logging.getLogger(__name__)

# Seconds after which who finds no seat comes back: long enough that 20,000 of them cost
# some 450 requests a second, which are answered without the database.
FULL_RETRY_S = (30.0, 60.0)


class Full(Exception):
    """There is no seat within a limit."""


class Seats:
    """The seats that are taken, under each limit and key. Safe from any thread."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin with none taken."""
        self._lock = threading.Lock()
        self._taken: Counter[tuple[str, str]] = Counter()
        self._refusals = Quiet()

    def take(self, setting: str, key: str) -> None:
        """Take a seat; raises Full if as many as the setting says are taken."""
        limit = conf.get(setting)
        with self._lock:
            if limit is None or self._taken[setting, key] < limit:
                self._taken[setting, key] += 1
                return
            begins = self._refusals.begins(setting)
        if begins:
            logger.warning(
                "stream limit reached, new clients are asked to retry setting=%s limit=%d key=%r",
                *(setting, limit, key),
            )
        raise Full(setting)

    def give_back(self, setting: str, key: str) -> None:
        with self._lock:
            self._taken[setting, key] -= 1
            if not self._taken[setting, key]:
                del self._taken[setting, key]

    def taken(self, setting: str, key: str = "") -> int:
        """Return how many are taken."""
        with self._lock:
            return self._taken[setting, key]


seats = Seats()
# A child has no streams yet; and the lock may be held by a thread that it has not.
os.register_at_fork(after_in_child=seats.reset)


class Seat:
    """What one request takes of each limit. A context manager: its end gives all back."""

    def __init__(self) -> None:
        self._held: list[tuple[str, str]] = []

    def take_any(self, scope: Any) -> None:
        """
        Take one of the process's, and of the client's address; raises Full.

        Taken before the database is asked: no more requests than this wait for it at once.
        """
        self._take("MAX_STREAMS", "")
        address = address_of(scope)
        if address is not None:
            self._take("MAX_STREAMS_PER_ADDRESS", address)

    def take_of_user(self, user_key: str | None) -> None:
        """Take one of the user's, if there is one; raises Full."""
        if user_key is not None:
            self._take("MAX_STREAMS_PER_USER", user_key)

    def _take(self, setting: str, key: str) -> None:
        seats.take(setting, key)
        self._held.append((setting, key))

    def __enter__(self) -> Seat:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._held:
            seats.give_back(*self._held.pop())


def address_of(scope: Any) -> str | None:
    """
    Return the client's address as one key, None where there is none (a Unix socket).

    Of IPv6 it is the network of 64 bits: each customer has at least that many addresses.
    """
    client = scope.get("client")
    text = str(client[0]) if client else ""
    if ":" not in text:
        return text or None
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return text
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{ipaddress.IPv6Address(int(address) >> 64 << 64)}/64"


def retry_s() -> float:
    """Return the seconds after which who found no seat is to come back, at random."""
    return random.uniform(*FULL_RETRY_S)
