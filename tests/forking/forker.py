"""Starts processes by this process's forker, which it starts before the first."""

from __future__ import annotations

import atexit
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

from tests.forking.forked import Forked

# What is read only when an interpreter starts: a fork cannot have its own.
READ_AT_START = ("LD_", "MALLOC_", "GLIBC_", "PYTHON")
# But not these: a fork sets its own path, never buffers, and keeps bytecode as its forker does.
NOT_READ = {"PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}
_starting = threading.Lock()


def popen(
    command: Sequence[str],
    *,
    cwd: str | Path,
    env: Mapping[str, str],
    stdin: IO[bytes] | int | None = None,
    stdout: IO[bytes] | int,
    stderr: IO[bytes] | int | None = None,
    dies_with_us: bool = False,
    fork: bool = True,
) -> subprocess.Popen[bytes] | Forked:
    """
    Start `python …` with a module (-m), a file or a text (-c), in a separate session.

    It is forked, unless `fork` is false or a fork would differ. Without `stdin` its input is
    empty; without `stderr` its errors go to `stdout`. `dies_with_us`: it is killed when this
    process ends.
    """
    with open(os.devnull, "rb") as nothing:
        files: list[Any] = [nothing if stdin is None else stdin, stdout, stderr or stdout]
        if not (fork and _can_fork(command, env)):
            from tests.faults.ending import ending_with_parent

            given: dict[str, Any] = dict(zip(("stdin", "stdout", "stderr"), files, strict=True))
            started = ending_with_parent(command) if dies_with_us else command
            return subprocess.Popen(started, cwd=cwd, env=env, start_new_session=True, **given)
        request = {
            "arguments": list(command[1:]),
            "cwd": str(cwd),
            "env": dict(env),
            "dies_with_us": dies_with_us,
        }
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            numbers = [f if isinstance(f, int) else f.fileno() for f in (*files, theirs)]
            socket.send_fds(_forker(), [json.dumps(request).encode()], numbers)
        return Forked(list(command), ours)


def run(
    command: Sequence[str], *, cwd: str | Path, env: Mapping[str, str], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """Return a process that has ended, with all that it wrote. Raises TimeoutExpired."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = popen(command, cwd=cwd, env=env, stdout=output, stderr=errors)
        try:
            status = process.wait(timeout_s)
        finally:
            process.kill()
        texts = []
        for file in (output, errors):
            file.seek(0)
            texts.append(file.read().decode())
        return subprocess.CompletedProcess(list(command), status, *texts)


def _can_fork(command: Sequence[str], env: Mapping[str, str]) -> bool:
    """Whether a process that is forked is the same as one that is started."""
    return (
        sys.platform == "linux"
        and command[0] == sys.executable
        and _read_at_start(env) == _read_at_start(os.environ)
    )


def _read_at_start(env: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in env.items()
        if name.startswith(READ_AT_START) and name not in NOT_READ
    }


def _forker() -> socket.socket:
    with _starting:
        return _start_forker()


@cache
def _start_forker() -> socket.socket:
    """Start the process that forks the others; it ends with us. Returns what it reads."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    file = Path(__file__).with_name("serving.py")
    without = ("PYTHONPATH", "DJANGO_SETTINGS_MODULE")
    environment = {name: value for name, value in os.environ.items() if name not in without}
    with theirs:
        process = subprocess.Popen(
            [sys.executable, str(file)],
            env={**environment, "PYTHONUNBUFFERED": "1"},
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
    atexit.register(_end, process, ours)
    return ours


def _end(process: subprocess.Popen[bytes], control: socket.socket) -> None:
    control.close()
    process.wait()
