"""A server under test: its process on a separate core, and its use of CPU and memory."""

from __future__ import annotations

import atexit
import ctypes
import http.client
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

from benchmarks import cpu
from benchmarks.subject import Subject
from tests.server import free_port, until

ROOT = Path(__file__).parents[1]
START_TIMEOUT_S = 30.0
COMMANDS = {
    "uvicorn": "uvicorn --host 127.0.0.1 --port {port} --log-level error --no-access-log {app}",
    "daphne": "daphne -v 0 -b 127.0.0.1 -p {port} {app}",
}
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class ServerError(Exception):
    """A server did not start, or a request to it failed."""


def _cores() -> tuple[int, int]:
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


# The core of the server, and that of all other processes: client, databases, publishers.
SERVER_CORE, CLIENT_CORE = _cores()


class Server:
    """One server process with its threads; a context manager. It ends with this process."""

    def __init__(
        self,
        subject: Subject,
        python: str,
        environment: Mapping[str, str],
        core: int = SERVER_CORE,
    ) -> None:
        self.port = free_port()
        self._subject, self._core = subject, core
        command = COMMANDS[subject.server].format(port=self.port, app=subject.application)
        self._command = [python, "-m", *command.split()]
        self._environment = environment_of(subject, environment)
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process
        self._asking = ThreadPoolExecutor(1)
        self._process: psutil.Popen | None = None

    def __enter__(self) -> Server:
        """Start it, and return when it listens. Raises ServerError with its log after 30 s."""
        core = self._core

        def in_child() -> None:
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            os.sched_setaffinity(0, {core})

        self._process = process = psutil.Popen(
            self._command,
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            preexec_fn=in_child,
        )
        atexit.register(self.kill)
        until(lambda: process.poll() is not None or self._answers(), START_TIMEOUT_S)
        if process.poll() is not None or not self._answers():
            self.kill()
            raise ServerError(f"{self._subject} did not start: {self.logged()}")
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        atexit.unregister(self.kill)
        self._asking.shutdown(wait=True)
        self._log.close()

    def kill(self) -> None:
        """SIGKILL it with its children; its data is not needed any more."""
        if self._process is not None and self._process.poll() is None:
            for process in self._family():
                process.kill()
            self._process.wait(20)

    def ask(self, path: str, patience_s: float = 120.0) -> str:
        """Return the answer to a GET. Raises ServerError."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=patience_s)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            text = response.read().decode()
        except (OSError, http.client.HTTPException) as error:
            raise ServerError(
                f"{self._subject}, GET {path}: {error!r}. {self.logged()}"
            ) from error
        finally:
            connection.close()
        if response.status != 200:
            raise ServerError(f"{self._subject}, GET {path}: {response.status}. {self.logged()}")
        return text

    def ask_meanwhile(self, path: str) -> Future[str]:
        """As ask(), on a thread, so that the crowd can be read at the same time."""
        return self._asking.submit(self.ask, path)

    def cpu_s(self) -> float:
        """Return the CPU seconds that it has used so far."""
        return cpu.cpu_s(self._family())

    def resident_kib(self) -> float:
        resident: int = sum(process.memory_info().rss for process in self._family())
        return resident / 1_024

    def logged(self) -> str:
        """Return the end of its log."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")[-2_000:]

    def _family(self) -> list[Any]:
        assert self._process is not None, "enter it first"
        return cpu.family(self._process)

    def _answers(self) -> bool:
        try:
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=1).connect()
        except OSError:
            time.sleep(0.05)
            return False
        return True


def environment_of(subject: Subject, more: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables of a process of the subject's."""
    inherited = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
    found = {**inherited, "PYTHONPATH": str(ROOT), **more}
    if subject.settings is not None:
        found["DJANGO_SETTINGS_MODULE"] = subject.settings
    return found
