"""Keeps one worker process running: it starts the next one when a worker was killed."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from typing import Any

from django.conf import settings
from django.db import DatabaseError

from demo_project.work.channel import WORK, WORKER
from eric_sse_django.exception import EricError
from eric_sse_django.shortcuts import publish

logger = logging.getLogger(__name__)

COMMAND = [sys.executable, str(settings.BASE_DIR / "manage.py"), "demo_worker"]
# Seconds before the next worker is started, and for a worker to end.
PAUSE_S, STOP_S = 0.5, 3.0


class Supervisor:
    """A thread that starts workers. A context manager; `current` is the process's."""

    current: Supervisor | None = None

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo-supervisor", daemon=True)
        self._process: subprocess.Popen[str] | None = None
        self._is_ready = False
        self._workers = 0

    def __enter__(self) -> Supervisor:
        Supervisor.current = self
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        Supervisor.current = None
        self._stop.set()
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()  # the worker ends
            if not self._is_ready:
                self._process.kill()  # it still imports, and has no work
        self._thread.join(STOP_S)

    def state(self) -> dict[str, Any]:
        """Return the worker as the page shows it."""
        pid = self._process.pid if self._is_ready and self._process is not None else None
        return {"pid": pid, "number": self._workers}

    def kill(self) -> int | None:
        """SIGKILL the worker; return its process id, None without a worker."""
        process = self._process
        if process is None or not self._is_ready:
            return None
        process.kill()
        return process.pid

    def _run(self) -> None:
        while not self._stop.is_set():
            self._process = process = subprocess.Popen(
                COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            with process:
                assert process.stdout is not None
                if process.stdout.readline() == "ready\n":
                    self._workers += 1
                    self._show(True)
                process.wait()
            self._show(False)
            self._stop.wait(PAUSE_S)

    def _show(self, is_ready: bool) -> None:
        self._is_ready = is_ready
        if self._stop.is_set():
            return
        try:
            publish(WORK, WORKER, self.state())
        except (DatabaseError, EricError):
            logger.exception("the page was not notified of the worker")
            time.sleep(PAUSE_S)
