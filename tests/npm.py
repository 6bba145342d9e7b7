"""The package of the browser's client: its tools, installed once by `npm ci`."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.conftest import missing

PACKAGE = Path(__file__).parents[1] / "js"
LIMIT_S = 300


def run(*command: str, **options: Any) -> str:
    """Run a command in the package; return what it prints. Raises AssertionError."""
    options = {"cwd": PACKAGE, **options}
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, **options)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


def install() -> Path:
    """Install the package's tools, unless they are; return its folder. Skips without npm."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        missing("Node.js and npm are not installed (on Debian: apt-get install npm)")
    wanted, done = PACKAGE / "package-lock.json", PACKAGE / "node_modules" / ".package-lock.json"
    with (PACKAGE / "package.json").open() as lock:  # workers of pytest-xdist take turns
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists() or done.stat().st_mtime < wanted.stat().st_mtime:
            run("npm", "ci", "--no-audit", "--no-fund")
            done.touch()
    return PACKAGE
