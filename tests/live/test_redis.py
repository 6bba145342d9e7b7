"""Wakes through a real Redis."""

import asyncio
import logging

from tests.wakes import listen

# Longer than redis-py 8 waits for any answer (5 s).
IDLE_S = 6.5
LAYERS = ["channels_redis.core.RedisChannelLayer", "channels_redis.pubsub.RedisPubSubChannelLayer"]


async def test_an_idle_layer_is_no_outage(redis_server, settings, caplog):
    config = {"hosts": [("127.0.0.1", redis_server.port)]}
    woken = []
    with caplog.at_level(logging.WARNING, logger="eric_sse_django"):
        listening = []
        for backend in LAYERS:
            settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": config}}
            listening.append(asyncio.create_task(listen(lambda: woken.append(1))))
            await asyncio.sleep(0)  # it makes its layer before the settings change
        await asyncio.sleep(IDLE_S)
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
    assert caplog.messages == []
    assert woken == [1, 1]
