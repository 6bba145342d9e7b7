"""Sending and receiving wakes in tests."""

from collections.abc import Callable

from eric_sse_django.wakes import WakeReceiver
from eric_sse_django.wakes import sender as sending


def send_through(fabric, monkeypatch):
    """Let senders send through a fabric, and try again soon after a failure; return it."""
    monkeypatch.setattr(sending, "configured", lambda: fabric)
    monkeypatch.setattr("eric_sse_django.outage.FIRST_DELAY_S", 0.005)
    return fabric


async def listen(wake: Callable[[], object]) -> None:
    """Call wake() for each wake that other processes send, and where some may be lost."""

    def call(*_: object) -> None:
        wake()

    await WakeReceiver(call, call).run()
