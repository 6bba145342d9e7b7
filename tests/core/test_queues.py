import threading

import pytest

from eric_sse_django.exception import NoMessagesException
from eric_sse_django.queues import InMemoryQueue, Queue
from tests.contract import QueueContract, count


class TestInMemoryQueue(QueueContract):
    pass


class ListQueue(Queue):
    """The least that makes a queue."""

    def __init__(self):
        self.messages = []

    def pop(self):
        if not self.messages:
            raise NoMessagesException
        return self.messages.pop(0)

    def push(self, message):
        self.messages.append(message)


class TestQueueOfTwoMethods(QueueContract):
    @pytest.fixture
    def queue(self):
        return ListQueue()

    def test_it_does_not_notify_of_a_push(self, queue):
        assert queue.watch(lambda: None) is None


def test_each_push_wakes_watchers_after_the_message_is_stored():
    queue = InMemoryQueue()
    seen = []
    undo = queue.watch(lambda: seen.append(queue.pop().payload))
    queue.push(count(1))
    queue.push(count(2))
    assert seen == [1, 2]
    undo()
    queue.push(count(3))
    assert seen == [1, 2]


def test_threads_that_push_and_pop_at_once_lose_and_repeat_nothing():
    queue = InMemoryQueue()
    taken = []

    def push(first):
        for number in range(first, first + 500):
            queue.push(count(number))

    def pop():
        while len(taken) < 2000:
            try:
                taken.append(queue.pop().payload)
            except NoMessagesException:
                continue

    threads = [threading.Thread(target=push, args=[first]) for first in range(0, 2000, 500)]
    threads += [threading.Thread(target=pop) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(2000))
