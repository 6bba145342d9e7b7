"""
Wakes between processes, through a Channels layer. They carry no message.

The only module that knows the layer. A wake may be lost: capacity, expiry, a dead
Redis; the hubs' polls are the net under it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from channels.layers import BaseChannelLayer, InMemoryChannelLayer, channel_layers

from eric_sse_django import conf
from eric_sse_django.outage import Outage

logger = logging.getLogger(__name__)

GROUP = "eric-sse.wake"
# Seconds for one send: a layer that is slower than the poll is of no use.
SEND_TIMEOUT_S = 1.0
# Seconds after which a hub joins the group again: well within channels' default
# group_expiry of a day, and soon after a Redis that came back empty.
REJOIN_S = 60.0


def make_layer() -> BaseChannelLayer | None:
    """
    Return a new layer of the project's configuration, None where none crosses processes.

    New, because channels_redis ties a layer object to the loop that receives on it.
    """
    alias = conf.get("CHANNEL_LAYER")
    if alias is None or alias not in channel_layers.configs:
        return None
    layer = channel_layers.make_backend(alias)
    return None if isinstance(layer, InMemoryChannelLayer) else layer


async def _close(layer: BaseChannelLayer) -> None:
    close = getattr(layer, "close_pools", None)  # channels_redis; the base class has none
    if close is not None:
        await close()


class Sender:
    """
    Sends wakes on a thread and a loop of its own, so that a slow layer delays nobody.

    Rings coalesce: while one send is under way, any number of rings make one more.
    """

    def __init__(self) -> None:
        self._wanted = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def ring(self) -> None:
        """Have a wake sent soon. Returns at once."""
        self._wanted.set()
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(
                        target=self._run, name="eric-sse-wakes", daemon=True
                    )
                    self._thread.start()

    def close(self) -> None:
        """Stop the thread; waits SEND_TIMEOUT_S and a little at most."""
        thread = self._thread
        self._closing = True
        self._wanted.set()
        if thread is not None:
            thread.join(SEND_TIMEOUT_S * 2)

    def _run(self) -> None:
        loop = asyncio.new_event_loop()
        layer = make_layer()
        outage = Outage(logger, "sending wakes through the channel layer")
        # Waits outside the loop: an executor's thread would keep the process from ending.
        while layer is not None and self._wanted.wait() and not self._closing:
            self._wanted.clear()  # before the send: a ring that comes later is kept
            try:
                loop.run_until_complete(_send(layer))
                outage.over()
            except Exception:  # noqa: BLE001 - the loop that owns this thread
                time.sleep(outage.failed())
                self._wanted.set()
        if layer is not None:
            loop.run_until_complete(_close(layer))
        loop.close()


async def _send(layer: BaseChannelLayer) -> None:
    await asyncio.wait_for(layer.group_send(GROUP, {"type": "eric.wake"}), SEND_TIMEOUT_S)


async def listen(wake: Callable[[], None]) -> None:
    """Call wake() for every wake that comes through the layer, until cancelled."""
    outage = Outage(logger, "receiving wakes through the channel layer")
    while True:
        layer = make_layer()
        if layer is None:
            return
        try:
            await _receive(layer, wake, outage)
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001 - the loop that owns this task
            await asyncio.sleep(outage.failed())
        finally:
            await _close(layer)


async def _receive(layer: Any, wake: Callable[[], None], outage: Outage) -> None:
    channel = await layer.new_channel("eric-sse")
    await layer.group_add(GROUP, channel)
    wake()  # what came before we were in the group
    rejoin = asyncio.ensure_future(_rejoin(layer, channel))
    try:
        while not rejoin.done():
            # Never with a timeout: a cancelled receive loses the channel on PubSub.
            await layer.receive(channel)
            outage.over()
            wake()
        await rejoin
    finally:
        rejoin.cancel()


async def _rejoin(layer: Any, channel: str) -> None:
    while True:
        await asyncio.sleep(REJOIN_S)
        await layer.group_add(GROUP, channel)
