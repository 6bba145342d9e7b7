"""Receiving wakes of other processes, through the channel layer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from channels.layers import BaseChannelLayer

from eric_sse_django.cancelling import cancel, within
from eric_sse_django.outage import Outage
from eric_sse_django.wakes.layer import close, make_layer
from eric_sse_django.wakes.sender import GROUP, is_own, known_outages

logger = logging.getLogger(__name__)

# Seconds after which a hub joins the group again: well within channels' default
# group_expiry of a day, and soon after a Redis that lost its data.
REJOIN_S = 60.0
# Seconds that joining the group may take, and an echo.
JOIN_S = 5.0
# Seconds of receiving without an error after which an outage is over.
HEALTHY_S = 5.0

ECHO = "eric.echo"


async def listen(wake: Callable[[], None]) -> None:
    """
    Call wake() for every wake that other processes send, until cancelled.

    What fails or hangs begins again with a new layer. Ends within a few seconds of its cancel,
    whatever the layer does.
    """
    outage = Outage(logger, "receiving wakes through the channel layer")
    known_outages.add(outage)
    try:
        await _listen(wake, outage)
    finally:
        known_outages.discard(outage)


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
    wake()  # for what was published before this
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
        if message.get("type") != ECHO and not is_own(message):
            wake()


async def _rejoin(layer: Any, channel: str, heard: asyncio.Event) -> None:
    """Join the group again from time to time; raise if an echo is not received."""
    while True:
        await asyncio.sleep(REJOIN_S)
        await within(JOIN_S, layer.group_add(GROUP, channel))
        heard.clear()
        await within(JOIN_S, layer.send(channel, {"type": ECHO}))
        if not await _is_set_within(JOIN_S, heard):
            raise ConnectionError("this process did not receive what it sent to itself")


async def _is_set_within(timeout_s: float, event: asyncio.Event) -> bool:
    try:
        return await within(timeout_s, event.wait())
    except asyncio.TimeoutError:
        return False
