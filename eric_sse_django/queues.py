"""Queues: a listener's messages not yet taken, oldest first."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque

from eric_sse_django.alarm import Undo, Wake, Watchers
from eric_sse_django.exception import NoMessagesException
from eric_sse_django.message import MessageContract


class Queue(ABC):
    """First in, first out. Two methods make a queue; the other two make it cheap to wait on."""

    @abstractmethod
    def pop(self) -> MessageContract:
        """
        Remove and return the oldest message; does not wait for one.

        Raises NoMessagesException when the queue is empty, RepositoryError when what
        keeps the messages fails.
        """

    @abstractmethod
    def push(self, message: MessageContract) -> None:
        """
        Add a message behind all others; pop() finds it from then on.

        Raises RepositoryError when what keeps the messages fails.
        """

    async def apop(self) -> MessageContract:
        """
        As pop(), for a coroutine.

        This is pop() itself, right for a queue that never waits. A queue that does I/O
        overrides it: other streams of the event loop wait as long as it holds the loop.
        """
        return self.pop()

    def watch(self, wake: Wake) -> Undo | None:
        """
        Have wake() called, from whatever thread, after each push.

        Returns what undoes that. This one returns None: "this queue cannot say", and
        streams then look every LOOK_INTERVAL_S.
        """
        return None


class InMemoryQueue(Queue):
    """
    A queue in this process's memory, and bounded only by that.

    Its methods may be called from any thread and never wait.
    """

    def __init__(self) -> None:
        self._messages: deque[MessageContract] = deque()
        self._watchers = Watchers()

    def pop(self) -> MessageContract:
        """Remove and return the oldest message, or raise NoMessagesException."""
        try:
            return self._messages.popleft()
        except IndexError:
            raise NoMessagesException from None

    def push(self, message: MessageContract) -> None:
        """Add a message behind all others, and wake who watches."""
        self._messages.append(message)
        self._watchers.wake()

    def watch(self, wake: Wake) -> Undo:
        """Have wake() called, in the thread of the push, after each; returns what undoes that."""
        return self._watchers.add(wake)
