"""
What carries wakes between processes: its interface, and the one that the project has.

A fabric may lose, repeat, delay or reorder what it carries; that costs latency, never a message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, TypeAlias

from django.utils.module_loading import import_string

from eric_sse_django import conf

WAKE = "eric.wake"
# Received in place of what is no message: not of this app, or too large.
MALFORMED: Mapping[str, Any] = MappingProxyType({"type": "malformed"})

OnMessage: TypeAlias = "Callable[[Mapping[str, Any]], None]"


class Parcel(NamedTuple):
    """
    A message of JSON values: for the processes that want a channel, or for all (None).

    Where the fabric does not route, it is for all.
    """

    channel: int | None
    message: Mapping[str, Any]


class Carrier(Protocol):
    """
    Sends, on the thread of its first send().

    `sends_at_once` is false if send_at_once() never does: then it is not called.
    """

    sends_at_once: bool

    def send(self, parcels: Sequence[Parcel]) -> None:
        """
        Send to the other processes, within a few seconds. Raises any error.

        Without parcels: make sure that those of send_at_once() have arrived, as far as it can.
        """

    def send_at_once(self, parcels: Sequence[Parcel]) -> bool:
        """
        Send without waiting, on any thread during no other call; return whether it did.

        Parcels that it did not send may have arrived nevertheless.
        """

    def close(self) -> None:
        """Close its connections."""


class Receiver(Protocol):
    """Receives, on the loop on which it was made."""

    async def receive(self, on_message: OnMessage, on_doubt: Callable[[], None]) -> None:
        """
        Call `on_message` with each message, or MALFORMED, until something fails; raise that.

        Calls `on_doubt` where messages may have been lost: when it has connected, each time.
        """

    def want(self, channels: AbstractSet[int]) -> None:
        """Receive, beside what is for all, what is for these channels. Returns at once."""

    async def close(self) -> None:
        """Close its connections, within a few seconds; raises nothing."""


class Fabric(Protocol):
    """
    A way between processes, as ERIC_SSE["FABRIC"] configures it.

    `name` is for operators. `routes` is true if a process receives only what is for the channels
    that it wants. Its class is called with what FABRIC has beside BACKEND: `LOCATION` and
    `OPTIONS`, as in CACHES.
    """

    name: str
    routes: bool

    def carrier(self) -> Carrier | None:
        """Return a new one; None where nothing crosses processes."""

    def receiver(self) -> Receiver | None:
        """Return a new one; None where nothing crosses processes."""

    def probe(self) -> bool:
        """
        Send something that wakes no process; return False if nothing crosses processes.

        Waits a few seconds at most; raises any error. Not on a running loop.
        """


def configured() -> Fabric | None:
    """Return the project's fabric, None if it has none. Raises what its class raises."""
    given = conf.get("FABRIC")
    if given is None:
        return None
    make = import_string(given["BACKEND"])
    fabric: Fabric = make(given.get("LOCATION"), given.get("OPTIONS") or {})
    return fabric


def routes() -> bool:
    """Return whether processes receive only what is for the channels that they want."""
    try:
        fabric = configured()
    except Exception:  # noqa: BLE001 - publishing continues: the sender logs it, and tries again
        return False
    return fabric is not None and fabric.routes
