"""Limits for the open streams of this process: of all, of a user, of an address."""

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
from eric_sse_django.outage import Quiet

logger = logging.getLogger(__name__)

# Seconds after which a client without a seat reconnects: 20,000 such clients send some 450
# requests a second, which are answered without the database.
FULL_RETRY_S = (30.0, 60.0)


class Full(Exception):
    """A limit is reached: all its seats are taken."""


class Seats:
    """The taken seats of each limit and key. Thread-safe."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Free all seats."""
        self._lock = threading.Lock()
        self._taken: Counter[tuple[str, str]] = Counter()
        self._refusals = Quiet()

    def take(self, setting: str, key: str) -> None:
        """Take a seat; raises Full if the setting's number is taken."""
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
# A child has no streams yet, and a thread that does not exist in it may hold the lock.
os.register_at_fork(after_in_child=seats.reset)


class Seat:
    """The seats of one request. A context manager that gives them back."""

    def __init__(self) -> None:
        self._held: list[tuple[str, str]] = []

    def take(self, setting: str, key: str | None) -> None:
        """Take a seat of a limit, none for no key; raises Full."""
        if key is not None:
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
    Return the client's address as a key, None if there is none (a Unix socket).

    For IPv6 that is the /64 network: each customer has at least that many addresses.
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
    """Return the seconds after which a client without a seat reconnects, at random."""
    return random.uniform(*FULL_RETRY_S)
