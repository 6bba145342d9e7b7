import pytest

from eric_sse_django.connection import Connection, InMemoryConnectionsFactory
from eric_sse_django.listener import MessageQueueListener
from eric_sse_django.queues import InMemoryQueue


def test_a_connection_is_a_listener_with_its_queue():
    listener, queue = MessageQueueListener(), InMemoryQueue()
    connection = Connection(listener, queue, "c-1")
    assert (connection.listener, connection.queue, connection.id) == (listener, queue, "c-1")


def test_connections_without_a_given_id_differ():
    listener, queue = MessageQueueListener(), InMemoryQueue()
    assert Connection(listener, queue).id != Connection(listener, queue).id


@pytest.mark.parametrize("name", ["listener", "queue", "id"])
def test_a_connection_is_read_only(name):
    connection = Connection(MessageQueueListener(), InMemoryQueue())
    with pytest.raises(AttributeError):
        setattr(connection, name, None)


def test_the_memory_factory_connects_the_given_listener():
    listener = MessageQueueListener()
    assert InMemoryConnectionsFactory().create(listener).listener is listener


def test_the_memory_factory_creates_a_listener_and_a_queue_each_time():
    factory = InMemoryConnectionsFactory()
    one, other = factory.create(), factory.create()
    assert one.listener.id != other.listener.id
    assert one.queue is not other.queue
    assert isinstance(one.queue, InMemoryQueue)
