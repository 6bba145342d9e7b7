"""
The forker: a process that has imported Django and the ASGI servers, and forks others from itself.

Run as a file. It reads requests from the socket that is its standard input, and ends with that.
It never imports the package, the tests or a project: each fork does, as a new process does.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import sys
import threading
import warnings
from typing import Any

STATUS = struct.Struct("=i")
MAX_REQUEST = 200_000  # bytes
PR_SET_PDEATHSIG = 1

# What can be imported without settings, and neither creates an event loop nor opens a file.
MODULES = (
    "autobahn.websocket.protocol",
    "channels.db",
    "channels.generic.http",
    "channels.layers",
    "channels.routing",
    "channels.sessions",
    "channels_redis.core",
    "django.contrib.admin",
    "django.contrib.messages.storage.fallback",
    "django.contrib.staticfiles.handlers",
    "django.core.asgi",
    "django.core.management",
    "django.core.servers.basehttp",
    "django.db.backends.postgresql.base",
    "django.db.backends.sqlite3.base",
    "django.db.migrations",
    "django.test.client",
    "django.utils.translation.reloader",
    "django.views.generic",
    "httptools",
    "hypercorn.asyncio",
    "nats",
    "prometheus_client",
    "psutil",
    "psycopg",
    "psycopg_pool",
    "pymysql",
    "twisted.application.service",
    "twisted.internet.endpoints",
    "twisted.internet.posixbase",
    "twisted.internet.ssl",
    "twisted.protocols.tls",
    "twisted.web._http2",
    "twisted.web.http",
    "uvicorn.lifespan.on",
    "uvicorn.logging",
    "uvicorn.main",
    "uvicorn.protocols.http.h11_impl",
    "uvicorn.protocols.http.httptools_impl",
    "uvloop",
)
# What a process of the tests may replace, or import in its own way.
NOT_YET = ("MySQLdb", "eric_sse_django", "tests", "twisted.internet.reactor")


def prepare() -> list[str]:
    """Import the modules. Returns the path on which packages are."""
    del sys.path[0]  # the folder of this file
    base = list(sys.path)
    before = set(os.listdir("/proc/self/fd"))
    for name in MODULES:
        # Not installed, or it needs settings: then the fork imports it.
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    imported = [name for name in NOT_YET if name in sys.modules]
    opened = set(os.listdir("/proc/self/fd")) - before
    if imported or opened or threading.active_count() > 1:
        raise SystemExit(f"The forker may not share {imported}, files {opened} or a thread.")
    gc.collect()
    gc.freeze()
    return base


def serve() -> tuple[dict[str, Any], list[int]] | None:
    """
    Fork a process for each request. Returns None when no more can come.

    In each fork it returns its request, with the files that are its input, output and errors.
    """
    control = socket.socket(fileno=0)
    waiting = select.poll()
    waiting.register(control, select.POLLIN)
    running: dict[int, tuple[int, socket.socket]] = {}  # by the descriptor of the process
    while True:
        for number, _ in waiting.poll():
            if number in running:
                waiting.unregister(number)
                report_end(number, *running.pop(number))
                continue
            data, files, _, _ = socket.recv_fds(control, MAX_REQUEST, 4)
            if not data:
                return None
            pid = os.fork()
            if not pid:
                os.close(files[3])
                let_go(control, running)
                return json.loads(data), files[:3]
            for file in files[:3]:
                os.close(file)
            connection = socket.socket(fileno=files[3])
            send(connection, pid)
            descriptor = os.pidfd_open(pid)
            running[descriptor] = pid, connection
            waiting.register(descriptor, select.POLLIN)


def report_end(descriptor: int, pid: int, connection: socket.socket) -> None:
    """Send the status of a process that has ended, written as subprocess.Popen does."""
    _, status = os.waitpid(pid, 0)
    os.close(descriptor)
    with connection:
        send(connection, os.waitstatus_to_exitcode(status))


def send(connection: socket.socket, number: int) -> None:
    with contextlib.suppress(OSError):  # its reader may have ended
        connection.send(STATUS.pack(number))


def let_go(control: socket.socket, running: dict[int, tuple[int, socket.socket]]) -> None:
    """Close in a fork what is only for the forker; the control's descriptor gets replaced."""
    control.detach()
    for descriptor, (_, connection) in running.items():
        os.close(descriptor)
        connection.close()


def become(request: dict[str, Any], files: list[int], base: list[str]) -> None:
    """Be the process of the request: in its session, with its files, folder and environment."""
    os.setsid()
    if request["dies_with_us"]:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    run(request["arguments"], base)


def run(arguments: list[str], base: list[str]) -> None:
    """Do with the arguments what the interpreter does."""
    while arguments[0] == "-W":
        warnings.simplefilter(arguments[1])  # type: ignore[arg-type]
        sys.warnoptions.append(arguments[1])
        arguments = arguments[2:]
    path = list(filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))
    if arguments[0] == "-m":
        sys.path[:] = [os.getcwd(), *path, *base]
        sys.argv[:] = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif arguments[0] == "-c":
        sys.path[:] = ["", *path, *base]
        sys.argv[:] = ["-c", *arguments[2:]]
        exec(compile(arguments[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.path[:] = [os.path.dirname(os.path.abspath(arguments[0])), *path, *base]
        sys.argv[:] = arguments
        runpy.run_path(arguments[0], run_name="__main__")


def main() -> None:
    base = prepare()
    given = serve()
    if given is not None:
        become(*given, base)


if __name__ == "__main__":
    main()
