"""The project's channel layer: built for one loop, probed, closed."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from typing import Any

from channels.layers import BaseChannelLayer, InMemoryChannelLayer, channel_layers

from eric_sse_django import conf
from eric_sse_django.cancelling import cancel, within
from eric_sse_django.wakes.runner import make_runner

logger = logging.getLogger(__name__)

# Seconds for one call of the layer: one that is slower than the poll is of no use.
LAYER_TIMEOUT_S = 1.0
# Seconds for which channels_redis lets Redis hold back the answer to an idle receive. Its
# own 5 s are what redis-py 8 waits for any answer: which came first was chance, and an error.
BLOCK_S = 2
# It has no members: what is sent to it wakes no process.
EMPTY_GROUP = "eric-sse.health"

# Held while the layer's modules are imported (0.2 s, on our threads), and during a fork: in the
# child, an import that another thread had begun would wait for that thread forever.
_importing = threading.Lock()
os.register_at_fork(
    before=_importing.acquire,
    after_in_parent=_importing.release,
    after_in_child=_importing.release,
)


def make_layer() -> BaseChannelLayer | None:
    """
    Return a new layer of the project's configuration, None if it does not cross processes.

    New, because channels_redis ties a layer object to the loop that receives on it.
    """
    alias = conf.get("CHANNEL_LAYER")
    if alias is None or alias not in channel_layers.configs:
        return None
    with _importing:
        layer: Any = channel_layers.make_backend(alias)
    # Of the class: on the object, the pub/sub layer asks the running loop for it.
    if hasattr(type(layer), "brpop_timeout"):
        layer.brpop_timeout = BLOCK_S
    return None if isinstance(layer, InMemoryChannelLayer) else layer


async def close(layer: BaseChannelLayer) -> None:
    """Close its connections, LAYER_TIMEOUT_S at most; raises nothing."""
    # channels_redis has close_pools(), its pub/sub layer closes in flush(); others have neither.
    # (RedisChannelLayer.flush() would empty the whole Redis.)
    name = "close_pools"
    if type(layer).__name__ == "RedisPubSubChannelLayer":
        name = "flush"
    elif not hasattr(type(layer), name):
        return
    try:
        await within(LAYER_TIMEOUT_S, getattr(layer, name)())
    except Exception:
        logger.debug("the channel layer could not be closed", exc_info=True)


async def close_with_tasks(layer: BaseChannelLayer) -> None:
    """Close the layer, and end the tasks that it started; waits twice LAYER_TIMEOUT_S at most."""
    await close(layer)
    await cancel(asyncio.all_tasks() - {asyncio.current_task()}, LAYER_TIMEOUT_S)


def probe() -> bool:
    """
    Send to a group without members; return False if no layer crosses processes, or is used.

    Waits three times LAYER_TIMEOUT_S at most; raises what the layer raises. Not on a running loop.
    """
    layer = make_layer()
    # asyncio.run() waits without a bound for tasks that ignore their cancel.
    runner = None if layer is None else make_runner()
    if layer is None or runner is None:
        return False
    try:
        runner.run(_send_to_none(layer))
    finally:
        runner.close()
    return True


async def _send_to_none(layer: BaseChannelLayer) -> None:
    try:
        await within(LAYER_TIMEOUT_S, layer.group_send(EMPTY_GROUP, {"type": "eric.wake"}))
    finally:
        await close_with_tasks(layer)
