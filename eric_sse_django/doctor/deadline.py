"""What may hang, such as a library that connects: it keeps neither the doctor nor its end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def within(seconds: float, function: Callable[[], T]) -> T:
    """
    Return what a function returns, or raise what it raises, on a separate thread.

    Raises TimeoutError if it takes longer. The thread is a daemon: the process ends without it.
    """
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(function())
        except BaseException as error:  # noqa: BLE001 - the caller raises it
            result.set_exception(error)

    thread = threading.Thread(target=run, name="eric-sse-doctor", daemon=True)
    thread.start()
    thread.join(seconds)
    if not result.done():
        raise TimeoutError(f"no answer within {seconds:g} s")
    return result.result()
