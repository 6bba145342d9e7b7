"""A separate server process for the tests: on loopback, its data in a temp dir."""

from __future__ import annotations

import atexit
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import psutil

from tests import parallel

if TYPE_CHECKING:
    from typing_extensions import Self

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
LOG_TAIL_LINES = 30

_given: deque[int] = deque(maxlen=100)
_giving = threading.Lock()


class ServerError(Exception):
    """A server did not come up, or a command that prepares it failed."""

    def __init__(self, name: str, what: str, log: Path) -> None:
        text = log.read_text(errors="replace") if log.exists() else ""
        tail = "\n".join(text.splitlines()[-LOG_TAIL_LINES:])
        super().__init__(f"{name} {what}. The end of its log {log}:\n{tail}")


def is_free(port: int) -> bool:
    """Return True if nobody listens on this port of loopback."""
    with socket.socket() as probe:
        # Connections of a server that is gone may rest on the port for a minute.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """
    Return a TCP port of loopback that nobody listens on.

    It lies below the range from which Linux takes the ports of outgoing connections, so
    only another server can take it before the caller does. It is none of those given lately,
    whose servers may be starting at the same time.
    """
    for _ in range(200):
        port = random.choice(parallel.ports(12_000, 32_000))
        with _giving:
            if port not in _given and is_free(port):
                _given.append(port)
                return port
    raise OSError("No free port of 127.0.0.1 found in 200 tries between 12000 and 32000.")


def until(ready: Callable[[], bool], timeout_s: float) -> bool:
    """Return True as soon as `ready()` is true, False after `timeout_s` without."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def unprivileged_user(*preferred: str) -> str | None:
    """Return the user that servers must run as when we are root, None when we are not."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in (*preferred, "nobody") if name in known)


def _lives(process: psutil.Process) -> bool:
    """Return False for a zombie too: the init of a container may be slow to reap orphans."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class Server:
    """
    One server process. `port` and data stay the same over stop(), kill() and start().

    Use it as a context manager, or rely on the exit of the interpreter to kill it.
    """

    name: ClassVar[str]
    # Users to run as if we are root, the best first.
    users: ClassVar[Sequence[str]] = ()
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, durable: bool = False, port: int | None = None) -> None:
        """Touch nothing yet. `durable` is what production has: commits are synced to disk."""
        self.durable = durable
        self.port = port or free_port()
        self.user = unprivileged_user(*self.users)
        self.directory = Path()
        self.process: subprocess.Popen[bytes] | None = None

    @classmethod
    def absence(cls) -> str | None:
        """Return why this machine cannot run the server, None if it can."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Fill `self.data` before the first start."""

    def command(self) -> list[str]:
        """Return the command line of the server, in the foreground."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Return True if the server answers a client. Waits at most a second."""
        raise NotImplementedError

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def log(self) -> Path:
        return self.directory / "log"

    def start(self) -> None:
        """Start and return when the server answers. Raises ServerError after 60 s."""
        self.set_up()
        # Else the answer of whoever listens there would pass for ours.
        if not is_free(self.port):
            raise ServerError(self.name, f"found port {self.port} taken", self.log)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A Ctrl-C in the terminal is for pytest, which then stops us in order.
                start_new_session=True,
                **self._identity(),
            )
        process = self.process
        came_up = until(
            lambda: process.poll() is not None or self.is_ready(), timeout_s=START_TIMEOUT_S
        )
        if not came_up or process.poll() is not None:
            what = f"ended with {process.poll()}" if came_up else "gave no answer in 60 s"
            self.kill()
            raise ServerError(self.name, f"on port {self.port} {what}", self.log)

    def set_up(self) -> None:
        """Do what start() does first, once; several servers need that one after another."""
        if not self.directory.name:
            self._create_directory()
            self.prepare()

    def stop(self) -> None:
        """Stop in order and return when the process is gone; after 20 s kill it."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(self.stop_signal)
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """SIGKILL the server with its children, as a crash would. Returns when all are gone."""
        if self.process is None or self.process.poll() is not None:
            return
        try:
            parent = psutil.Process(self.process.pid)
            family = [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            family = []
        for member in family:
            try:
                member.kill()
            except psutil.NoSuchProcess:
                continue
        self.process.wait(STOP_TIMEOUT_S)
        until(lambda: not any(map(_lives, family)), STOP_TIMEOUT_S)

    def restart(self) -> None:
        """Stop in order and start again. For a crash: kill(), then start()."""
        self.stop()
        self.start()

    def discard(self) -> None:
        """Kill the server and remove its data."""
        self.kill()
        atexit.unregister(self.discard)
        if self.directory.name:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
        self.discard()

    def _create_directory(self) -> None:
        # Not pytest's tmp_path: that lies in a directory only its owner can enter.
        self.directory = Path(tempfile.mkdtemp(prefix=f"eric_sse_{self.name.lower()}_"))
        atexit.register(self.discard)
        self.data.mkdir()
        if self.user is not None:
            for path in (self.directory, self.data):
                shutil.chown(path, self.user)

    def _identity(self) -> dict[str, Any]:
        """Return the Popen arguments that drop root."""
        if self.user is None:
            return {"cwd": self.directory}
        group = pwd.getpwnam(self.user).pw_gid
        return {"cwd": self.directory, "user": self.user, "group": group, "extra_groups": []}

    def run(self, *command: str) -> None:
        """Run one preparing command as the server's user. Raises ServerError if it fails."""
        with self.log.open("ab") as log:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                timeout=START_TIMEOUT_S,
                check=False,
                **self._identity(),
            )
        if done.returncode:
            raise ServerError(self.name, f"{command[0]} ended with {done.returncode}", self.log)
