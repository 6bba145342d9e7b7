"""A channel with a listener, and the messages in its queue."""

from collections.abc import Callable
from typing import Any

import pytest

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.exception import NoMessagesException


@pytest.fixture
def channel(database) -> DatabaseChannel:
    return DatabaseChannel.create("orders")


@pytest.fixture
def taken() -> Callable[..., list[tuple[str, Any]]]:
    """Return a function that takes what waits for a listener, as (type, payload)."""

    def taken(channel: DatabaseChannel, listener: Any) -> list[tuple[str, Any]]:
        found: list[tuple[str, Any]] = []
        while True:
            try:
                message = channel.deliver_next(listener.id)
            except NoMessagesException:
                return found
            found.append((message.type, message.payload))

    return taken


@pytest.fixture
def listener(channel):
    """Return a running listener of `channel`."""
    listener = channel.add_listener(listener_id="till-7")
    listener.start()
    return listener
