"""The fabric of projects with a Channels layer: one group, which all processes join."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from channels.layers import BaseChannelLayer
from django.core.exceptions import ImproperlyConfigured

from eric_sse_django.cancelling import until_one_ends, within
from eric_sse_django.wakes.fabric import Carrier, OnMessage, Parcel, Receiver
from eric_sse_django.wakes.layer import (
    LAYER_TIMEOUT_S,
    Runner,
    are_greenlets,
    close,
    close_with_tasks,
    make_layer,
    make_runner,
    probe,
)
from eric_sse_django.wakes.pubsub import RedisPublisher, group_of
from eric_sse_django.wakes.subscriber import RedisSubscriber

GROUP = "eric-sse.wake"
# Seconds after which a hub joins the group again: well within channels' default
# group_expiry of a day, and soon after a Redis that lost its data.
REJOIN_S = 60.0
# Seconds that joining the group may take, and an echo.
JOIN_S = 5.0

ECHO = "eric.echo"


class ChannelsFabric:
    """The layer that ERIC_SSE["CHANNEL_LAYER"] names, if it crosses processes."""

    name = "the channel layer"
    routes = False

    def __init__(self, location: Any = None, options: Mapping[str, Any] | None = None) -> None:
        """Raise ImproperlyConfigured for either: they would have no effect."""
        if location is not None or options:
            problem = (
                "ChannelsFabric has no LOCATION and no OPTIONS: CHANNEL_LAYERS has the layer's"
            )
            raise ImproperlyConfigured(problem)

    def carrier(self) -> Carrier | None:
        if not are_greenlets() and (group := group_of(GROUP)) is not None:
            return RedisPublisher(group)
        layer = make_layer()
        runner = None if layer is None else make_runner()
        return None if layer is None or runner is None else LayerCarrier(layer, runner)

    def receiver(self) -> Receiver | None:
        if (group := group_of(GROUP)) is not None:
            return RedisSubscriber(group)
        layer = make_layer()
        return None if layer is None else LayerReceiver(layer)

    def probe(self) -> bool:
        return probe()


class LayerCarrier:
    """Sends through the layer, on a separate loop."""

    sends_at_once = False

    def __init__(self, layer: BaseChannelLayer, runner: Runner) -> None:
        self._layer, self._runner = layer, runner

    def send(self, parcels: Sequence[Parcel]) -> None:
        for parcel in parcels:
            sending = self._layer.group_send(GROUP, dict(parcel.message))
            self._runner.run(within(LAYER_TIMEOUT_S, sending))

    def send_at_once(self, parcels: Sequence[Parcel]) -> bool:
        return False  # it waits for its loop

    def close(self) -> None:
        self._runner.run(close_with_tasks(self._layer))
        self._runner.close()


class LayerReceiver:
    """Receives through the layer."""

    def __init__(self, layer: Any) -> None:
        self._layer = layer

    async def receive(self, on_message: OnMessage, on_doubt: Callable[[], None]) -> None:
        channel = await within(JOIN_S, self._layer.new_channel("eric-sse"))
        await within(JOIN_S, self._layer.group_add(GROUP, channel))
        on_doubt()  # for what was published before this
        heard = asyncio.Event()
        # Never with a timeout: a cancelled receive loses the channel on PubSub.
        # Its end is bounded: on Python 3.11 channels_redis swallows a cancel now and then.
        await until_one_ends(
            self._pass_on(channel, on_message, heard), self._rejoin(channel, heard)
        )

    def want(self, channels: AbstractSet[int]) -> None:
        """Do nothing: all processes receive all."""

    async def close(self) -> None:
        await close(self._layer)

    async def _pass_on(self, channel: str, on_message: OnMessage, heard: asyncio.Event) -> None:
        while True:
            message = await self._layer.receive(channel)
            heard.set()
            if message.get("type") != ECHO:
                on_message(message)

    async def _rejoin(self, channel: str, heard: asyncio.Event) -> None:
        """Join the group again from time to time; raise if an echo is not received."""
        while True:
            await asyncio.sleep(REJOIN_S)
            await within(JOIN_S, self._layer.group_add(GROUP, channel))
            heard.clear()
            await within(JOIN_S, self._layer.send(channel, {"type": ECHO}))
            if not await _is_set_within(JOIN_S, heard):
                raise ConnectionError("this process did not receive what it sent to itself")


async def _is_set_within(timeout_s: float, event: asyncio.Event) -> bool:
    try:
        return await within(timeout_s, event.wait())
    except asyncio.TimeoutError:
        return False
