import pytest

from eric_sse_django.prefabs import SSEChannel
from eric_sse_django.queues import InMemoryQueue


@pytest.fixture
def queue():
    return InMemoryQueue()


@pytest.fixture
def channel():
    return SSEChannel(channel_id="orders")


@pytest.fixture
def call():
    async def call(function, *args):
        return function(*args)

    return call
