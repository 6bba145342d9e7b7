"""The machine: its facts, the versions of what runs on it, and its limits."""

from __future__ import annotations

import json
import os
import platform
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.server import CLIENT_CORE

# Files of a process beside its streams: databases, libraries, other sockets.
SPARE_FILES = 200
PACKAGES = (
    *("django", "channels", "daphne", "twisted", "uvicorn", "uvloop", "httptools", "starlette"),
    *("fastapi", "psycopg", "channels_redis", "redis", "eric-sse-django", "django-eventstream"),
    *("eric-sse", "eric-api", "sse-starlette"),
)
_VERSIONS = f"""
import json
from importlib.metadata import PackageNotFoundError, version
found = {{}}
for name in {PACKAGES!r}:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def facts() -> dict[str, str]:
    """Return what the figures depend on, beside the packages."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": platform.platform(),
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
    }


def versions(python: str) -> dict[str, str]:
    """Return the versions of the packages that an interpreter has."""
    done = subprocess.run(
        [python, "-c", _VERSIONS],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=True,
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def make_room(streams: int) -> None:
    """
    Use the client's core only, raise the limit of open files, and end cleanly on SIGTERM.

    Servers inherit the limit. Raises SystemExit if it is too low for as many streams.
    """
    os.sched_setaffinity(0, {CLIENT_CORE})
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < streams + SPARE_FILES:
        raise SystemExit(
            f"{streams:,} streams need {streams + SPARE_FILES:,} open files, and the limit is "
            f"{most:,}: raise it (ulimit -Hn), or open fewer streams."
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
