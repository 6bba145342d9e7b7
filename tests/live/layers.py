"""Channel layers for the live tests."""

import asyncio
from typing import Any

from channels.layers import BaseChannelLayer


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
