"""Virtual environments of the rivals, created once and kept."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

# Seconds that the installation of one environment may take.
INSTALL_TIMEOUT_S = 600.0


class InstallationError(Exception):
    """The packages could not be installed."""


def cache() -> Path:
    """Return the directory of all environments, which no other user can write to."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "eric-sse-django-benchmarks"


def python_of(packages: Sequence[str]) -> str:
    """
    Return the interpreter of an environment with these packages; without any, this interpreter.

    The first call installs them, within 10 minutes. Raises InstallationError with pip's output.
    """
    if not packages:
        return sys.executable
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    key = hashlib.sha256("\n".join([version, *packages]).encode()).hexdigest()[:12]
    folder = cache() / key
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(folder)])
        _run([str(python), "-m", "pip", "install", "-q", *packages])
        (folder / "complete").write_text("\n".join(packages))
    return str(python)


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InstallationError(f"{command[2:]} took over {INSTALL_TIMEOUT_S:g} s") from None
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise InstallationError(" ".join(errors) or done.stderr[-300:])
