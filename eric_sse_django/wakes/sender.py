"""Sending wakes to other processes, through the channel layer."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from typing import Any, Protocol
from uuid import uuid4

from channels.layers import BaseChannelLayer

from eric_sse_django.cancelling import within
from eric_sse_django.outage import Outage
from eric_sse_django.wakes.layer import (
    LAYER_TIMEOUT_S,
    Runner,
    are_greenlets,
    close_with_tasks,
    make_layer,
    make_runner,
)
from eric_sse_django.wakes.pubsub import make_publisher

logger = logging.getLogger(__name__)

GROUP = "eric-sse.wake"
WAKE = "eric.wake"
# Seconds after which a layer that blocks the sending thread hangs.
HUNG_S = 10.0
# Threads that are replaced at most.
MAX_REPLACED = 3


class WakeSender:
    """
    Sends wakes on its own thread and loop, so that a slow layer delays no publisher.

    While one send is under way, any number of calls of wake() cause one more.
    """

    def __init__(self) -> None:
        self._wanted = threading.Event()
        self._idle = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._sends_since: float | None = None
        self._replaced = 0
        self._outage = Outage(logger, "sending wakes through the channel layer")
        self._lock = threading.Lock()

    def wake(self) -> None:
        """Send a wake soon. Returns at once."""
        self._idle.clear()
        self._wanted.set()
        if self._thread is None:
            self.start()

    def start(self) -> None:
        """Start the thread, unless the interpreter ends: Python 3.12 starts none then."""
        with self._lock:
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._run, name="eric-sse-wakes", daemon=True)
            self._thread = thread  # first: a thread that is not this one ends
            try:
                thread.start()
            except RuntimeError:
                self._thread = None
            else:
                _senders.add(self)

    def flush(self, timeout_s: float = LAYER_TIMEOUT_S) -> bool:
        """Wait until the wakes are sent; False when it took longer."""
        thread = self._thread
        return thread is None or not thread.is_alive() or self._idle.wait(timeout_s)

    def check(self, now: float) -> None:
        """Replace the thread if the layer blocks it, at time.monotonic() `now`."""
        since = self._sends_since
        if since is None or now - since < HUNG_S or self._replaced >= MAX_REPLACED:
            return
        try:
            raise TimeoutError(f"a layer has blocked its thread for {now - since:.0f} s")
        except TimeoutError:
            self._outage.failed()
        self._sends_since, self._thread = None, None
        self._replaced += 1
        self._wanted.set()
        self.start()

    def close(self) -> None:
        """Stop the thread; waits twice LAYER_TIMEOUT_S at most."""
        self._closing.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(LAYER_TIMEOUT_S * 2)

    def _run(self) -> None:
        known_outages.add(self._outage)
        try:
            while self._is_needed():
                try:
                    carrier = _make_carrier()
                    if carrier is None:
                        return
                    self._send_through(carrier)
                except Exception:  # noqa: BLE001 - the loop that owns this thread
                    if not self._is_needed():
                        return
                    self._sends_since = None
                    self._idle.set()
                    self._wanted.set()  # what failed must be sent again
                    self._closing.wait(self._outage.failed())
        finally:
            if self._thread is threading.current_thread():
                known_outages.discard(self._outage)
                self._idle.set()

    def _is_needed(self) -> bool:
        """Return whether this thread is neither closed nor replaced."""
        return self._thread is threading.current_thread() and not self._closing.is_set()

    def _send_through(self, carrier: Carrier) -> None:
        """Send wakes until closed; raises what the carrier raises."""
        try:
            while self._is_wanted():
                self._sends_since = time.monotonic()
                carrier.send({"type": WAKE, "sender": _sender_id})
                if self._thread is not threading.current_thread():
                    return  # it took so long that another thread has replaced it
                self._sends_since = None
                self._outage.over()
        finally:
            carrier.close()

    def _is_wanted(self) -> bool:
        """Wait for wake(); return False when closed. The loop does not run meanwhile."""
        if not self._wanted.is_set():
            self._idle.set()
        self._wanted.wait()
        self._wanted.clear()  # before the send: a wake that comes later is kept
        return not self._closing.is_set()


class Carrier(Protocol):
    """What carries messages to the group, on the thread of its first use."""

    def send(self, message: dict[str, Any]) -> None:
        """Send a message; raises any error."""

    def close(self) -> None:
        """Close its connections."""


class LayerCarrier:
    """The project's layer, on a separate loop."""

    def __init__(self, layer: BaseChannelLayer, runner: Runner) -> None:
        self._layer, self._runner = layer, runner

    def send(self, message: dict[str, Any]) -> None:
        self._runner.run(within(LAYER_TIMEOUT_S, self._layer.group_send(GROUP, message)))

    def close(self) -> None:
        self._runner.run(close_with_tasks(self._layer))
        self._runner.close()


def _make_carrier() -> Carrier | None:
    """Return what sends through the project's layer; None if nothing does."""
    if not are_greenlets() and (publisher := make_publisher(GROUP)) is not None:
        return publisher
    layer = make_layer()
    runner = None if layer is None else make_runner()
    return None if layer is None or runner is None else LayerCarrier(layer, runner)


_senders: weakref.WeakSet[WakeSender] = weakref.WeakSet()
known_outages: set[Outage] = set()
# In each wake: the hubs of this process ignore it, for they are woken already.
_sender_id = uuid4().hex


def _forget_after_fork() -> None:
    global _sender_id
    _sender_id = uuid4().hex
    known_outages.clear()


os.register_at_fork(after_in_child=_forget_after_fork)


def outages() -> tuple[Outage, ...]:
    """Return this process's outages of the layer: of sending, and of receiving."""
    return tuple(known_outages)


def flush() -> None:
    """Wait until this process's wakes are sent, LAYER_TIMEOUT_S at most."""
    for sender in tuple(_senders):
        sender.flush()


# A client of Redis imports more at its first send: see layer.importing.
os.register_at_fork(before=flush)


def is_own(message: dict[str, Any]) -> bool:
    """Return whether this process has sent a wake."""
    return message.get("sender") == _sender_id
