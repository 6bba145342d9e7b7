"""
Wakes between processes, through a Channels layer. They carry no message.

A wake may be lost: capacity, expiry, a dead Redis; the hubs' polls are the net under it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from channels.layers import BaseChannelLayer

from eric_sse_django import native
from eric_sse_django.cancelling import cancel, within
from eric_sse_django.layer import SEND_TIMEOUT_S, close, close_with_tasks, make_layer
from eric_sse_django.native import Runner
from eric_sse_django.outage import Outage

logger = logging.getLogger(__name__)

GROUP = "eric-sse.wake"
# Seconds after which a hub joins the group again: well within channels' default
# group_expiry of a day, and soon after a Redis that came back empty.
REJOIN_S = 60.0
# Seconds that joining the group may take, and an echo of our own to come back.
JOIN_S = 5.0
# Seconds of receiving without an error after which an outage counts as over.
HEALTHY_S = 5.0

# Seconds that a layer may keep the sending thread beyond its timeout, by blocking calls.
HUNG_S = 10.0
# Threads at most that are left alone with a layer that keeps them.
MOST_REPLACED = 3

WAKE, ECHO = "eric.wake", "eric.echo"


class Sender:
    """
    Sends wakes on a thread and a loop of its own, so that a slow layer delays nobody.

    Rings coalesce: while one send is under way, any number of rings make one more.
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

    def ring(self) -> None:
        """Have a wake sent soon. Returns at once."""
        self._idle.clear()
        self._wanted.set()
        self.start()

    def start(self) -> None:
        """Start the thread, if the interpreter does not end already: 3.12 starts none then."""
        if self._thread is not None:
            return
        with self._lock:
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._run, name="eric-sse-wakes", daemon=True)
            self._thread = thread  # before it begins: it ends where it is not this one
            try:
                thread.start()
            except RuntimeError:
                self._thread = None
            else:
                _senders.add(self)

    def flush(self, timeout_s: float = SEND_TIMEOUT_S) -> bool:
        """Wait until the wakes are sent; False when it took longer."""
        thread = self._thread
        return thread is None or not thread.is_alive() or self._idle.wait(timeout_s)

    def check(self, now: float) -> None:
        """Replace the thread where the layer keeps it, at time.monotonic() `now`."""
        since = self._sends_since
        if since is None or now - since < HUNG_S or self._replaced >= MOST_REPLACED:
            return
        try:
            raise TimeoutError(f"a layer keeps its thread for {now - since:.0f} s")
        except TimeoutError:
            self._outage.failed()
        self._sends_since, self._thread = None, None
        self._replaced += 1
        self._wanted.set()
        self.start()

    def close(self) -> None:
        """Stop the thread; waits twice SEND_TIMEOUT_S at most."""
        self._closing.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(SEND_TIMEOUT_S * 2)

    def _run(self) -> None:
        _outages.add(self._outage)
        try:
            while self._goes_on():
                try:
                    layer = make_layer()
                    runner = None if layer is None else native.runner()
                    if layer is None or runner is None:
                        return
                    self._send_through(layer, runner)
                except Exception:  # noqa: BLE001 - the loop that owns this thread
                    if not self._goes_on():
                        return
                    self._sends_since = None
                    self._idle.set()
                    self._wanted.set()  # what failed is to be sent again
                    self._closing.wait(self._outage.failed())
        finally:
            if self._thread is threading.current_thread():
                _outages.discard(self._outage)
                self._idle.set()

    def _goes_on(self) -> bool:
        """Whether this thread is to go on: not when closed, or replaced by another."""
        return self._thread is threading.current_thread() and not self._closing.is_set()

    def _send_through(self, layer: BaseChannelLayer, runner: Runner) -> None:
        """Send a wake for each ring until closed; raises what the layer raises."""
        try:
            while self._rung():
                self._sends_since = time.monotonic()
                runner.run(_send(layer))
                if self._thread is not threading.current_thread():
                    return  # it took so long that another has its place
                self._sends_since = None
                self._outage.over()
        finally:
            runner.run(close_with_tasks(layer))
            runner.close()

    def _rung(self) -> bool:
        """Wait for a ring; False when closed. Outside the loop, which stands still meanwhile."""
        if not self._wanted.is_set():
            self._idle.set()
        self._wanted.wait()
        self._wanted.clear()  # before the send: a ring that comes later is kept
        return not self._closing.is_set()


async def _send(layer: BaseChannelLayer) -> None:
    await within(SEND_TIMEOUT_S, layer.group_send(GROUP, {"type": WAKE, "sender": _sender_id}))


_senders: weakref.WeakSet[Sender] = weakref.WeakSet()
_outages: set[Outage] = set()
# This process's, by which its own hubs, which were woken before, pass over its wakes.
_sender_id = uuid4().hex


def _forget_after_fork() -> None:
    global _sender_id
    _sender_id = uuid4().hex
    _outages.clear()


os.register_at_fork(after_in_child=_forget_after_fork)


def outages() -> tuple[Outage, ...]:
    """Return what this process does through the layer and may fail: sending, receiving."""
    return tuple(_outages)


def flush() -> None:
    """Wait until this process's wakes are sent, SEND_TIMEOUT_S at most."""
    for sender in tuple(_senders):
        sender.flush()


# A client of Redis imports more at its first send: see layer._importing.
os.register_at_fork(before=flush)


async def listen(wake: Callable[[], None]) -> None:
    """
    Call wake() for every wake of other processes that comes through the layer, until cancelled.

    What fails or hangs is begun anew, with a new layer. Ends within a few seconds of its cancel,
    whatever the layer does.
    """
    outage = Outage(logger, "receiving wakes through the channel layer")
    _outages.add(outage)
    try:
        await _listen(wake, outage)
    finally:
        _outages.discard(outage)


async def _listen(wake: Callable[[], None], outage: Outage) -> None:
    while True:
        layer: BaseChannelLayer | None = None
        try:
            layer = make_layer()
            if layer is None:
                return
            await _receive(layer, wake, outage)
        except Exception:  # noqa: BLE001 - the loop that owns this task
            await asyncio.sleep(outage.failed())
        finally:
            if layer is not None:
                await close(layer)


async def _receive(layer: Any, wake: Callable[[], None], outage: Outage) -> None:
    """Receive until something fails; raises that."""
    channel = await within(JOIN_S, layer.new_channel("eric-sse"))
    await within(JOIN_S, layer.group_add(GROUP, channel))
    wake()  # what came before we were in the group
    healthy = asyncio.get_running_loop().call_later(HEALTHY_S, outage.over)
    heard = asyncio.Event()
    # Never with a timeout: a cancelled receive loses the channel on PubSub.
    tasks = {
        asyncio.ensure_future(_wake_on_receive(layer, channel, wake, heard)),
        asyncio.ensure_future(_rejoin(layer, channel, heard)),
    }
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        healthy.cancel()
        # Bounded: on Python 3.11 channels_redis swallows a cancel now and then.
        await cancel(tasks)


async def _wake_on_receive(
    layer: Any, channel: str, wake: Callable[[], None], heard: asyncio.Event
) -> None:
    while True:
        message = await layer.receive(channel)
        heard.set()
        if message.get("type") != ECHO and not _is_own(message):
            wake()


def _is_own(message: dict[str, Any]) -> bool:
    return message.get("sender") == _sender_id


async def _rejoin(layer: Any, channel: str, heard: asyncio.Event) -> None:
    """Join the group again now and then, and notice a link that brings nothing any more."""
    while True:
        await asyncio.sleep(REJOIN_S)
        await within(JOIN_S, layer.group_add(GROUP, channel))
        heard.clear()
        await within(JOIN_S, layer.send(channel, {"type": ECHO}))
        if not await _is_set_within(JOIN_S, heard):
            raise ConnectionError("what was sent to this process itself did not come back")


async def _is_set_within(timeout_s: float, event: asyncio.Event) -> bool:
    try:
        return await within(timeout_s, event.wait())
    except asyncio.TimeoutError:
        return False
