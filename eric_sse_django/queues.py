"""Queues: the messages of a listener that are not taken yet, oldest first."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque

from eric_sse_django.alarm import Undo, Wake, Watchers
from eric_sse_django.exception import NoMessagesException
from eric_sse_django.message import MessageContract


class Queue(ABC):
    """First in, first out. Subclasses implement pop() and push(); the rest makes waiting cheap."""

    @abstractmethod
    def pop(self) -> MessageContract:
        """
        Remove and return the oldest message; does not wait for one.

        Raises NoMessagesException if the queue is empty, RepositoryError if its store fails.
        """

    @abstractmethod
    def push(self, message: MessageContract) -> None:
        """
        Add a message after all others.

        Raises RepositoryError if the queue's store fails.
        """

    async def apop(self) -> MessageContract:
        """
        As pop(), for a coroutine.

        It calls pop(), which is right for a queue that never waits. A queue that does I/O
        overrides it: otherwise it blocks the other streams of the event loop.
        """
        return self.pop()

    def watch(self, wake: Wake) -> Undo | None:
        """
        Call wake() after each push, from any thread. Returns a function that undoes this.

        This one returns None: the queue cannot notify, and streams check every LOOK_INTERVAL_S.
        """
        return None


class InMemoryQueue(Queue):
    """
    A queue in the memory of this process, without another limit.

    Its methods may be called from any thread and never wait.
    """

    def __init__(self) -> None:
        self._messages: deque[MessageContract] = deque()
        self._watchers = Watchers()

    def pop(self) -> MessageContract:
        """Remove and return the oldest message; raises NoMessagesException if there is none."""
        try:
            return self._messages.popleft()
        except IndexError:
            raise NoMessagesException from None

    def push(self, message: MessageContract) -> None:
        """Add a message after all others, and wake the watchers."""
        self._messages.append(message)
        self._watchers.wake()

    def watch(self, wake: Wake) -> Undo:
        """Call wake() after each push, in its thread. Returns a function that undoes this."""
        return self._watchers.add(wake)
