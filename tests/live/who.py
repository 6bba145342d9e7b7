"""A small ASGI application that returns what its process is connected to."""

import json
from typing import Any

import django
from channels.layers import get_channel_layer
from django.conf import settings

django.setup()


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer /settings with ERIC_SSE and the layer's class, anything else with the users."""
    from django.contrib.auth.models import User

    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    if scope["path"] == "/settings":
        layer = type(get_channel_layer()).__name__
        body = f"{json.dumps(settings.ERIC_SSE)} {layer}"
    else:
        body = ",".join([name async for name in User.objects.values_list("username", flat=True)])
    length = str(len(body)).encode()
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]}
    )
    await send({"type": "http.response.body", "body": body.encode()})
