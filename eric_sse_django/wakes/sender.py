"""Sending wakes to other processes: at once where nothing has to wait, else on a thread."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar
from uuid import uuid4

from eric_sse_django.outage import Outage, Quiet
from eric_sse_django.wakes.fabric import WAKE, Carrier, Parcel, configured
from eric_sse_django.wakes.layer import LAYER_TIMEOUT_S

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

PLAIN = Parcel(None, {})
# Items that wait to be sent; when exceeded, a plain wake is sent instead of all of them.
MAX_ITEMS = 64
# Seconds after which a fabric that blocks the sending thread hangs.
HUNG_S = 10.0
# Threads that are replaced at most.
MAX_REPLACED = 3
# Seconds for which wakes are sent at once before the thread makes sure that they arrive.
TRUST_S = 1.0


class WakeSender(Generic[Item]):
    """
    Sends wakes so that a slow fabric delays no publisher.

    A wake is plain, or has an item. One with an item is sent on the caller's thread where the
    carrier can do that without waiting: a change of thread takes longer than the send. Else the
    separate thread sends it, as all plain ones. Wakes that arrive during a send share the next
    one: `pack` returns the parcels of their items; with a plain one among them, one plain wake is
    sent.
    """

    def __init__(self, pack: Callable[[Sequence[Item]], Sequence[Parcel]] | None = None) -> None:
        self._pack = pack
        self._items: list[Item] = []
        self._is_plain = False  # the next send is a plain wake: some item is missing
        self.is_used = True  # until it is known that nothing crosses processes
        self._wanted = threading.Event()
        self._idle = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._carrier: Carrier | None = None  # for publishers, while the thread does not use it
        self._turn = threading.Lock()  # held while one of them uses it
        self._is_unverified = False  # something was sent at once
        self._verified_at = float("-inf")
        self._sends_since: float | None = None
        self._replaced = 0
        self._outage = Outage(logger, "sending wakes to other processes")
        self._quiet = Quiet()
        self._lock = threading.Lock()

    def wake(self, item: Item | None = None) -> None:
        """Send an item soon, or a plain wake. Returns at once."""
        if item is not None and self._send_at_once(item):
            return
        with self._lock:
            if item is None or self._is_plain or len(self._items) >= MAX_ITEMS:
                self._drop_items()
            else:
                self._items.append(item)
            self._idle.clear()
            self._wanted.set()
        if self._thread is None:
            self.start()

    def _send_at_once(self, item: Item) -> bool:
        """Send an item if that waits for nothing; return whether it was sent."""
        # 32 threads that waited for each other's turns did so for 40 ms.
        if not self._idle.is_set() or not self._turn.acquire(blocking=False):
            return False
        try:
            return self._carrier is not None and self._send_in_turn(self._carrier, item)
        finally:
            self._turn.release()

    def _send_in_turn(self, carrier: Carrier, item: Item) -> bool:
        is_sent = False
        try:
            is_sent = carrier.send_at_once(self._packed([item]))
        except Exception:  # noqa: BLE001 - the thread meets the same error, and reports it
            pass
        except BaseException:  # a signal has ended it: what was sent before may be lost, too
            with self._lock:
                self._drop_items()
                self._idle.clear()
                self._wanted.set()
            raise
        if is_sent:
            self._is_unverified = True
            if time.monotonic() - self._verified_at > TRUST_S:
                self._verify_soon()
        elif self._is_unverified:
            with self._lock:
                self._drop_items()  # what was sent before may be lost with the connection
        return is_sent

    def _verify_soon(self) -> None:
        """Let the thread make sure that what was sent at once has arrived."""
        with self._lock:
            if self._is_unverified:
                self._idle.clear()
                self._wanted.set()

    def _drop_items(self) -> None:
        """Send a plain wake instead of what waits."""
        self._is_plain = True
        self._items.clear()

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
        self._verify_soon()
        return thread is None or not thread.is_alive() or self._idle.wait(timeout_s)

    def check(self, now: float) -> None:
        """Replace the thread if the fabric blocks it, at time.monotonic() `now`; else verify."""
        since = self._sends_since
        if since is None:
            self._verify_soon()
            return
        if now - since < HUNG_S or self._replaced >= MAX_REPLACED:
            return
        try:
            raise TimeoutError(f"the fabric has blocked its thread for {now - since:.0f} s")
        except TimeoutError:
            self._outage.failed()
        with self._turn:
            self._sends_since = self._thread = self._carrier = None
        self._replaced += 1
        self._must_repeat()
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
                    fabric = configured()
                    carrier = None if fabric is None else fabric.carrier()
                    if carrier is None:
                        self.is_used = False
                        return
                    self._send_through(carrier)
                except Exception:  # noqa: BLE001 - the loop that owns this thread
                    if not self._is_needed():
                        return
                    self._sends_since = None
                    self._idle.set()
                    self._must_repeat()
                    self._closing.wait(self._outage.failed())
        finally:
            if self._thread is threading.current_thread():
                known_outages.discard(self._outage)
                self._idle.set()

    def _is_needed(self) -> bool:
        """Return whether this thread is neither closed nor replaced."""
        return self._thread is threading.current_thread() and not self._closing.is_set()

    def _must_repeat(self) -> None:
        """Let others read the log for what was not sent."""
        with self._lock:
            self._drop_items()
        self._wanted.set()

    def _send_through(self, carrier: Carrier) -> None:
        """Send wakes until closed; raises what the carrier raises."""
        try:
            while self._is_wanted():
                self._sends_since = time.monotonic()
                self._share(None)
                parcels, must_verify = self._parcels()
                if must_verify:  # first: for these parcels it may connect again, and not fail
                    carrier.send([])
                if parcels:
                    carrier.send(parcels)
                if parcels or must_verify:
                    self._verified_at = time.monotonic()
                if not self._share(carrier if carrier.sends_at_once else None):
                    return  # it took so long that another thread has replaced it
                self._sends_since = None
                self._outage.over()
        finally:
            self._share(None)
            carrier.close()

    def _share(self, carrier: Carrier | None) -> bool:
        """Let publishers use a carrier, or none; return False if this thread was replaced."""
        with self._turn:
            is_current = self._thread is threading.current_thread()
            if is_current:
                self._carrier = carrier
        return is_current

    def _parcels(self) -> tuple[list[Parcel], bool]:
        """
        Return the parcels of the waiting wakes, and whether something was sent at once.

        There are none if the last send had them.
        """
        with self._lock:
            items, self._items = self._items, []
            is_plain, self._is_plain = self._is_plain, False
            must_verify, self._is_unverified = self._is_unverified, False
        if is_plain:
            return _addressed([PLAIN]), must_verify
        return self._packed(items) if items else [], must_verify

    def _packed(self, items: Sequence[Item]) -> list[Parcel]:
        """Return the parcels of items: that of a plain wake where these cannot be packed."""
        packed: Sequence[Parcel] = [PLAIN]
        try:
            if self._pack is not None:
                packed = self._pack(items)
        except Exception:
            if self._quiet.begins("pack"):
                logger.exception("wakes are sent without what they carry: it cannot be packed")
        return _addressed(packed)

    def _is_wanted(self) -> bool:
        """Wait for wake(); return False when closed. The loop does not run meanwhile."""
        with self._lock:  # a wake() in between would not be waited for by flush()
            if not self._wanted.is_set():
                self._idle.set()
        self._wanted.wait()
        self._wanted.clear()  # before the send: a wake that comes later is kept
        return not self._closing.is_set()


def _addressed(packed: Sequence[Parcel]) -> list[Parcel]:
    """Return the parcels as wakes of this process."""
    head = {"type": WAKE, "sender": _sender_id}
    return [Parcel(channel, {**head, **message}) for channel, message in packed]


_senders: weakref.WeakSet[WakeSender[Any]] = weakref.WeakSet()
known_outages: set[Outage] = set()
# In each wake: the hubs of this process ignore it, for they are woken already.
_sender_id = uuid4().hex


def _forget_after_fork() -> None:
    global _sender_id, _senders
    _sender_id = uuid4().hex
    known_outages.clear()
    _senders = weakref.WeakSet()  # another thread of the parent may have held the lock of one


os.register_at_fork(after_in_child=_forget_after_fork)


def outages() -> tuple[Outage, ...]:
    """Return this process's outages of the fabric: of sending, and of receiving."""
    return tuple(known_outages)


def flush() -> None:
    """Wait until this process's wakes are sent, LAYER_TIMEOUT_S at most."""
    for sender in tuple(_senders):
        sender.flush()


# A fabric's client imports more at its first send: see layer.importing.
os.register_at_fork(before=flush)


def is_own(message: Mapping[str, Any]) -> bool:
    """Return whether this process has sent a wake."""
    return message.get("sender") == _sender_id
