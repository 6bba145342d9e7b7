"""The clients from npm that the live tests run, each in a process of Node: see tests/npm.py."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.conftest import missing
from tests.npm import MODULES

SOURCES = Path(__file__).with_name("clients")
TIMEOUT_S = 60.0


def bundle(page: Path, directory: Path) -> Path:
    """Return a page's script with all that it imports, as one file in a directory."""
    out = directory / f"{page.stem}.js"
    esbuild = MODULES / ".bin" / "esbuild"
    command = [str(esbuild), str(page), "--bundle", "--jsx=automatic", f"--outfile={out}"]
    environment = {**os.environ, "NODE_PATH": str(MODULES)}
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=60)
    return out


def celery_progress_script(directory: Path) -> str:
    """Copy celery-progress's script, as its package has it, to a directory; return its name."""
    found = find_spec("celery_progress")
    if found is None or found.origin is None:
        missing("celery-progress is not installed")
    source = Path(found.origin).parent / "static/celery_progress/celery_progress.js"
    directory.mkdir(exist_ok=True)
    shutil.copy(source, directory)
    return source.name


class Client:
    """A script that runs in Node. An async context manager; `lines` are what it has reported."""

    def __init__(self, script: str, **options: Any) -> None:
        self._command = ["node", script, *(f"{name}={value}" for name, value in options.items())]
        self.lines: list[dict[str, Any]] = []

    async def __aenter__(self) -> Client:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            cwd=SOURCES,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=2**24,
            env={**os.environ, "NODE_ENV": "production"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def until(self, event: str) -> dict[str, Any]:
        """Return the next line of this kind; it fails where the script ends without."""
        assert self._process.stdout is not None
        while True:
            line = await asyncio.wait_for(self._process.stdout.readline(), TIMEOUT_S)
            assert line, f"{self._command} ended without {event!r}: {self.lines}"
            try:
                said = json.loads(line)
            except ValueError:
                said = {"event": "printed", "text": line.decode()}
            self.lines.append(said)
            if said["event"] == event:
                return said
            assert said["event"] != "failed", said
