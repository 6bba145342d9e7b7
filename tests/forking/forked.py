"""A process that the forker has started, with the interface of subprocess.Popen."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import threading

STATUS = struct.Struct("=i")


class Forked:
    """
    A process of the forker. `connection` brings its pid, and its status when it has ended.

    Raises ServerError's cause, an OSError, if the forker is gone.
    """

    def __init__(self, command: list[str], connection: socket.socket) -> None:
        self.args = command
        self.returncode: int | None = None
        self._connection = connection
        self._reading = threading.Lock()
        self.pid = self._receive(None)

    def _receive(self, timeout_s: float | None) -> int:
        self._connection.settimeout(timeout_s)
        data = self._connection.recv(STATUS.size)
        if not data:
            raise ChildProcessError(f"The forker of {' '.join(self.args)} has ended.")
        return int(STATUS.unpack(data)[0])

    def wait(self, timeout: float | None = None) -> int:
        """Return its status when it has ended. Raises subprocess.TimeoutExpired."""
        with self._reading:
            if self.returncode is None:
                try:
                    self.returncode = self._receive(timeout)
                except (TimeoutError, BlockingIOError):
                    raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
                self._connection.close()
            return self.returncode

    def poll(self) -> int | None:
        """Return its status if it has ended, None while it runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)
