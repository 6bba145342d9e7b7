"""Listeners: the subscribers of a channel."""

from __future__ import annotations

from uuid import uuid4

from eric_sse_django.alarm import Undo, Wake, Watchers
from eric_sse_django.message import MessageContract


class MessageQueueListener:
    """
    A subscriber of a channel. It receives nothing until start().

    Its id is `listener_id`, or a new uuid4 as text if that is not given. Override on_message()
    to act on delivered messages. Its methods may be called from any thread.
    """

    def __init__(self, listener_id: str | None = None) -> None:
        self.id: str = listener_id or str(uuid4())
        self._running = False
        self._watchers = Watchers()

    def on_message(self, msg: MessageContract) -> None:
        """
        Handle a message when it is delivered; does nothing unless overridden.

        A stream calls it on its event loop: it must not wait.
        """

    def start(self) -> None:
        """Start receiving; wakes the watchers."""
        self._running = True
        self.wake()

    def stop(self) -> None:
        """Stop receiving: the streams of this listener end, also those that wait."""
        self._running = False
        self.wake()

    def is_running(self) -> bool:
        """Whether the listener receives now."""
        return self._running

    def wake(self) -> None:
        """Wake the streams of this listener, which then check whether to end; never waits."""
        self._watchers.wake()

    def watch(self, wake: Wake) -> Undo | None:
        """
        Call wake() after each start() and stop(), from any thread.

        Returns a function that undoes this, or None if this listener cannot notify; streams
        then check every LOOK_INTERVAL_S.
        """
        if type(self).is_running is not MessageQueueListener.is_running:
            return None  # a subclass that overrides it need not call stop()
        return self._watchers.add(wake)
