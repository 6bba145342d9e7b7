"""Runs a command in a new Linux namespace, with a separate network or mounts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

INSIDE = "ERIC_SSE_FAULTS_INSIDE"


def command(kind: str) -> list[str] | None:
    """
    Return the prefix that runs a command in a new namespace ("net", "mount"), None if impossible.

    It works as root, or in a user namespace if these are allowed.
    """
    unshare = shutil.which("unshare")
    for more in ([], ["--user", "--map-root-user"]):
        found = [unshare or "unshare", *more, f"--{kind}"]
        if (
            unshare
            and not subprocess.run([*found, "true"], capture_output=True, check=False).returncode
        ):
            return found
    return None


def absence(kind: str, *tools: str) -> str | None:
    """Return why such a namespace or these tools are not available, None if they are."""
    for tool in tools:
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    return None if command(kind) else f"this machine allows no namespace (unshare --{kind})"


def enter(kind: str, module: str, arguments: Sequence[str]) -> None:
    """Become `python -m module` in a new namespace, unless this process is in it already."""
    if os.environ.get(INSIDE) == kind:
        return
    found = command(kind)
    if found is None:
        raise SystemExit(f"{absence(kind)}: run it as root on Linux.")
    os.environ[INSIDE] = kind
    os.execv(found[0], [*found, sys.executable, "-m", module, *arguments])
