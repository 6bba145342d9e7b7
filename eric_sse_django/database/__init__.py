"""The core API on the database: durable channels, listeners and queues."""

from eric_sse_django.database.channel import DatabaseChannel
from eric_sse_django.database.factory import DatabaseConnectionsFactory
from eric_sse_django.database.listener import DatabaseListener
from eric_sse_django.database.queue import DatabaseQueue

__all__ = ["DatabaseChannel", "DatabaseConnectionsFactory", "DatabaseListener", "DatabaseQueue"]
