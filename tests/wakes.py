"""Receiving wakes in tests."""

from collections.abc import Callable

from eric_sse_django.wakes import WakeReceiver


async def listen(wake: Callable[[], object]) -> None:
    """Call wake() for each wake that other processes send, and where some may be lost."""

    def call(*_: object) -> None:
        wake()

    await WakeReceiver(call, call).run()
