"""Listeners: who receives a channel's messages."""

from __future__ import annotations

from uuid import uuid4

from eric_sse_django.alarm import Undo, Wake, Watchers
from eric_sse_django.message import MessageContract


class MessageQueueListener:
    """
    A subscriber of a channel. It receives nothing until start().

    Its id is `listener_id`, or a new uuid4 as text when that is not given. Override
    on_message() to act on what is delivered. Its methods may be called from any thread.
    """

    def __init__(self, listener_id: str | None = None) -> None:
        self.id: str = listener_id or str(uuid4())
        self._running = False
        self._watchers = Watchers()

    def on_message(self, msg: MessageContract) -> None:
        """
        Called with each message as it is delivered; does nothing unless overridden.

        A stream calls it on its event loop: it must not wait.
        """

    def start(self) -> None:
        """Begin to receive; wakes who watches."""
        self._running = True
        self.wake()

    def stop(self) -> None:
        """End to receive: streams of this listener end, also those that wait."""
        self._running = False
        self.wake()

    def is_running(self) -> bool:
        """Whether the listener receives now."""
        return self._running

    def wake(self) -> None:
        """Have the streams of this listener look whether they may go on; never waits."""
        self._watchers.wake()

    def watch(self, wake: Wake) -> Undo | None:
        """
        Have wake() called, from whatever thread, after each start() and stop().

        Returns what undoes that, or None when this listener cannot say; streams then
        look for themselves.
        """
        if type(self).is_running is not MessageQueueListener.is_running:
            return None  # a subclass that decides by itself need not call our stop()
        return self._watchers.add(wake)
