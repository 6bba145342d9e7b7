"""A process that uses one database and calls the functions of `tasks`."""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

# Seconds after which a call counts as stuck: filling ten million rows takes four minutes.
PATIENCE_S = 900.0


class WorkerError(Exception):
    """The function raised in the process."""


class Worker:
    """
    One process with Django set up for the database at `address` (see settings.py).

    It ends with its parent, also if the parent is killed, because its pipe is then closed.
    """

    def __init__(self, address: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, address), daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._pipe.close()
        self._process.join(5)
        self._process.kill()

    def begin(self, function: str, *args: Any) -> None:
        """Start a function of benchmarks.growth.tasks; result() returns its answer."""
        self._pipe.send((function, args))

    def result(self) -> Any:
        """Return what the function returned. Raises WorkerError with its traceback on failure."""
        if not self._pipe.poll(PATIENCE_S):
            raise WorkerError(f"no answer within {PATIENCE_S:.0f} s")
        error, found = self._pipe.recv()
        if error:
            raise WorkerError(error)
        return found

    def call(self, function: str, *args: Any) -> Any:
        """Call a function, wait for it, and return what it returned."""
        self.begin(function, *args)
        return self.result()

    def stop_task(self) -> None:
        """End publish_paced()."""
        self._pipe.send(None)


def _serve(pipe: Connection, address: str) -> None:
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C is for the parent, which ends this process
    os.environ["ERIC_SSE_GROWTH_DB"] = address
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.growth.settings"
    import django  # noqa: PLC0415 - the settings are known only now

    django.setup()
    from benchmarks.growth import tasks  # noqa: PLC0415

    tasks.pipe = pipe
    while True:
        try:
            call = pipe.recv()
        except EOFError:
            return
        if call is None:
            continue
        function, args = call
        try:
            answer: tuple[str | None, Any] = None, getattr(tasks, function)(*args)
        except Exception:  # noqa: BLE001 - it is raised in the parent
            answer = traceback.format_exc(), None
        pipe.send(answer)
