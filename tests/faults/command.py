"""Runs the commands of this package for the tests, each in a process that can be ended."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.live.asgi_servers import ROOT


def run(module: str, *options: str, directory: Path, timeout_s: float) -> dict[str, Any]:
    """
    Return the report of `python -m module`, with its exit status as "status".

    Its output is printed: pytest shows it if the test fails. Raises TimeoutExpired.
    """
    file = directory / "report.json"
    done = subprocess.run(
        [sys.executable, "-m", module, *options, "--json", str(file)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    print(done.stdout)
    report = json.loads(file.read_text()) if file.exists() else {}
    return {**report, "status": done.returncode}
