"""The ASGI servers of the live tests, each a separate process on a free port."""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from tests import databases, forking
from tests.server import free_port, until

ROOT = Path(__file__).parents[2]
# The others start separate processes.
FORKED = ("daphne", "uvicorn", "hypercorn")
SERVERS = ("daphne", "uvicorn", "hypercorn", "granian")
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 20.0


def command(server: str, application: str, port: int) -> list[str]:
    """Return the command line that serves `application` on a port of loopback."""
    at = {
        "daphne": ["-b", "127.0.0.1", "-p", str(port)],
        "uvicorn": ["--host", "127.0.0.1", "--port", str(port)],
        "hypercorn": ["--bind", f"127.0.0.1:{port}"],
        "gunicorn": ["--bind", f"127.0.0.1:{port}"],  # WSGI: publishes only
        "granian": ["--interface", "asgi", "--host", "127.0.0.1", "--port", str(port)],
    }
    if server == "wsgiref":  # publishes only
        return [sys.executable, "-m", "tests.live.wsgi", str(port)]
    if server == "runserver":
        return [sys.executable, "-m", "django", "runserver", f"127.0.0.1:{port}"]
    return [sys.executable, "-m", server, *at[server], application]


class ASGIServer:
    """
    One server process. A context manager; on failure its log is part of the error.

    `url` is where it answers, `log` the file with what it wrote.
    """

    def __init__(
        self,
        server: str = "daphne",
        *,
        database: str = "default",
        settings: Mapping[str, Any] | None = None,
        redis_port: int | None = None,
        layer: Mapping[str, Any] | None = None,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        application: str = "tests.asgi:application",
        port: int | None = None,
        fresh: bool = False,
        dies_with_us: bool = False,
    ) -> None:
        """
        Start nothing yet. `database` is the alias in the running test: what the fixture
        `database` returned. `settings` go into ERIC_SSE; `redis_port` means channels_redis;
        `layer` is a whole CHANNEL_LAYERS["default"]; `options` are for the command line. `fresh`:
        it shares no memory with others (tests/forking).
        """
        self.server = server
        self.fresh = fresh
        self.dies_with_us = dies_with_us
        self.port = port or free_port()
        self.command = [*command(server, application, self.port), *options]
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "ERIC_SSE_TEST_DB": databases.address(database),
            "ERIC_SSE_TEST_SETTINGS": json.dumps(dict(settings or {})),
        }
        if redis_port is not None:
            self.environment["ERIC_SSE_TEST_REDIS"] = str(redis_port)
        if layer is not None:
            self.environment["ERIC_SSE_TEST_LAYER"] = json.dumps(dict(layer))
        self.environment |= environment or {}
        handle, name = tempfile.mkstemp(prefix=f"eric_sse_{server}_", suffix=".log")
        os.close(handle)
        self.log = Path(name)
        self.process: subprocess.Popen[bytes] | forking.Forked | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None, "start() first"
        return self.process.pid

    def children(self) -> list[psutil.Process]:
        """Return its workers, where it has some."""
        return psutil.Process(self.pid).children(recursive=True)

    def start(self) -> None:
        """Start and return once it accepts connections. Raises AssertionError after 30 s."""
        with self.log.open("ab") as log:
            self.process = forking.popen(
                self.command,
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                dies_with_us=self.dies_with_us,
                fork=self.server in FORKED and not self.fresh,
            )
        process = self.process
        atexit.register(self.kill)
        ready = until(lambda: process.poll() is not None or self._accepts(), START_TIMEOUT_S)
        if not ready or process.poll() is not None:
            self.kill()
            raise AssertionError(f"{self.server} did not come up. {self.logged()}")

    def _accepts(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def terminate(self) -> None:
        """Ask it to end (SIGTERM). Does not wait: see wait()."""
        os.kill(self.pid, signal.SIGTERM)

    def wait(self, timeout_s: float = STOP_TIMEOUT_S) -> float:
        """Return the seconds it took to end. Raises AssertionError with its log."""
        assert self.process is not None, "start() first"
        began = time.monotonic()
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(
                f"{self.server} still ran {timeout_s} s later. {self.logged()}"
            ) from None
        return time.monotonic() - began

    def kill(self) -> None:
        """SIGKILL it with its workers, as a crash would. Returns when it is gone."""
        if self.process is None or self.process.poll() is not None:
            return
        workers = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        for worker in workers:
            if worker.is_running():
                worker.kill()
        self.process.wait(STOP_TIMEOUT_S)

    def stop(self) -> None:
        """End it within 20 s, in order if it can. Closes nothing it was sent by a client."""
        if self.process is not None and self.process.poll() is None:
            self.terminate()
            self.wait()

    def logged(self) -> str:
        """Return what it wrote so far, for an assertion's message."""
        return f"Log of {' '.join(self.command)}:\n{self.log.read_text(errors='replace')}"

    def __enter__(self) -> ASGIServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        atexit.unregister(self.kill)
        # pytest shows it, under "Captured stderr teardown", of a test that failed.
        print(self.logged(), file=sys.stderr)
        self.log.unlink()


def absence(server: str) -> str | None:
    """Return why the ASGI server cannot be run, None if it can."""
    return None if find_spec(server) is not None else f"{server} is not installed"
