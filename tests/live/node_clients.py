"""The clients from npm that the live tests run: installed once, each run in a process of Node."""

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

SOURCES = Path(__file__).with_name("clients")
INSTALL_TIMEOUT_S = 150
TIMEOUT_S = 60.0


def installed(directory: Path) -> Path:
    """Install the clients of package-lock.json below a directory; skips where that cannot be."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        missing("Node and npm are not installed (on Debian: apt-get install nodejs npm)")
    place = directory / "clients"
    shutil.copytree(SOURCES, place, ignore=shutil.ignore_patterns("node_modules"))
    done = subprocess.run(
        [npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=INSTALL_TIMEOUT_S,
    )
    if done.returncode:
        missing(f"npm could not install the clients: {done.stderr[-500:]}")
    return place


def bundle(place: Path, page: str) -> Path:
    """Return a page's script with all that it imports, as one file for a browser."""
    out = place / "bundles" / Path(page).with_suffix(".js").name
    command = [
        "node_modules/.bin/esbuild",
        page,
        "--bundle",
        "--jsx=automatic",
        f"--outfile={out}",
    ]
    subprocess.run(command, cwd=place, check=True, capture_output=True, timeout=60)
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

    def __init__(self, place: Path, script: str, **options: Any) -> None:
        self._place = place
        self._command = ["node", script, *(f"{name}={value}" for name, value in options.items())]
        self.lines: list[dict[str, Any]] = []

    async def __aenter__(self) -> Client:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            cwd=self._place,
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
