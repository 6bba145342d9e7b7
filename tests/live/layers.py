"""Channel layers for the live tests."""

import asyncio
import threading
import time
from typing import Any

from channels.exceptions import ChannelFull
from channels.layers import BaseChannelLayer

SLOW_S = 2.0


class SwallowingLayer(BaseChannelLayer):
    """Takes every wake, and passes none on."""

    extensions = ("groups",)

    async def new_channel(self, prefix: str = "specific") -> str:
        return f"{prefix}!swallowed"

    async def group_add(self, group: str, channel: str) -> None:
        pass

    async def group_send(self, group: str, message: Any) -> None:
        pass

    async def receive(self, channel: str) -> Any:
        await asyncio.Event().wait()


class FullLayer(SwallowingLayer):
    """Has no room for any wake."""

    async def group_send(self, group: str, message: Any) -> None:
        raise ChannelFull


class DeadLayer(SwallowingLayer):
    """Fails whatever is asked of it, as a Redis that is gone."""

    async def group_add(self, group: str, channel: str) -> None:
        raise ConnectionError("nobody is there")

    async def group_send(self, group: str, message: Any) -> None:
        raise ConnectionError("nobody is there")

    async def receive(self, channel: str) -> Any:
        raise ConnectionError("nobody is there")


class SlowLayer(SwallowingLayer):
    """Takes 2 s for each call, and then loses the wake."""

    async def group_add(self, group: str, channel: str) -> None:
        await asyncio.sleep(SLOW_S)

    async def group_send(self, group: str, message: Any) -> None:
        await asyncio.sleep(SLOW_S)


class BlockingLayer(SwallowingLayer):
    """Takes 2 s for each call, and keeps its thread all the while."""

    async def group_send(self, group: str, message: Any) -> None:
        time.sleep(SLOW_S)


class StuckLayer(SwallowingLayer):
    """Blocks in each send until `released` is set."""

    entered = threading.Event()
    released = threading.Event()

    async def group_send(self, group: str, message: Any) -> None:
        self.entered.set()
        self.released.wait(60)
