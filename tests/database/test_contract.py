"""Durable queues and channels do what those in memory do."""

import pytest

from eric_sse_django.database import (
    DatabaseConnectionsFactory,
    DatabaseQueue,
)
from eric_sse_django.database.rows import create_listener
from eric_sse_django.prefabs import SSEChannel
from tests.contract import (
    ChannelContract,
    DeliveryContract,
    QueueContract,
    StreamContract,
)


class TestDatabaseQueue(QueueContract):
    @pytest.fixture
    def queue(self, channel):
        return DatabaseQueue(create_listener(channel.row))


class TestDatabaseChannel(ChannelContract):
    pass


class TestMemoryChannelWithDurableQueues(DeliveryContract, StreamContract):
    # Its registry is the one in memory.

    @pytest.fixture
    def channel(self, database):
        return SSEChannel(connections_factory=DatabaseConnectionsFactory("orders"))
