"""
Time the first event of a new project, by README's commands: `python -m tests.live.first_event`.

In an empty folder: a new virtual environment, pip, the files of "In your project, in five
minutes", a user, a server, a login, a stream. It ends when the published message has arrived.
Packages are downloaded; this one is built from the checkout, until a package index has it.
"""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.live.asgi_servers import ROOT
from tests.live.quick_start import BLOCKS, NAME, PASSWORD, Project, command, log_in

MAX_S, MAX_LINES = 300.0, 40
PIP_S = 240.0
NOT_COPIED = (".*", "node_modules", "build", "tests", "benchmarks", "images")


class NewProject(Project):
    """A project in a new environment, which has nothing but what pip installs there."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        del self.environment["PYTHONPATH"], self.environment["PYTHONWARNINGS"]
        self.environment["PATH"] = f"{folder / '.venv' / 'bin'}:{os.environ['PATH']}"

    def install(self) -> None:
        """Run README's line for pip, with a copy of the checkout in the place of the name."""
        subprocess.run([sys.executable, "-m", "venv", ".venv"], cwd=self.folder, check=True)
        source = self.folder / "source"  # a build in the checkout would leave files there
        shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*NOT_COPIED))
        line = command("pip install").replace("eric-sse-django", "./source") + " --quiet"
        subprocess.run(
            line, shell=True, cwd=self.folder, env=self.environment, check=True, timeout=PIP_S
        )

    def prepare(self) -> None:
        """Write README's files, the tables and a user."""
        self.run("django-admin startproject mysite .")
        for block in BLOCKS:
            self.write(*block)
        self.run(command("python manage.py migrate"))
        self.converse(
            command("python manage.py createsuperuser"),
            ("Username", NAME),
            ("Email", "ada@example.com"),
            ("Password:", PASSWORD),
            ("Password (again):", PASSWORD),
            ("created", ""),
        )

    def receive(self) -> None:
        """Log in, open the page's stream, publish, and read the message from the stream."""
        line = command("python manage.py runserver") + " 127.0.0.1:{port}"
        with (
            self.serve(line) as url,
            httpx.Client(base_url=url, follow_redirects=True, timeout=60) as client,
        ):
            [path] = re.findall(r'data-stream="([^"]+)"', log_in(client, "/orders/").text)
            with client.stream("GET", html.unescape(path)) as stream:
                lines = stream.iter_lines()
                next(lines)
                self.run(command("python manage.py eric_publish"))
                next(each for each in lines if each == 'data: {"id":7}')


def lines_of_code() -> int:
    """Return how many lines a reader of README writes or pastes."""
    return sum(len(text.splitlines()) for _, _, text in BLOCKS)


@contextmanager
def timed(name: str) -> Iterator[None]:
    """Print how long the block took."""
    began = time.monotonic()
    yield
    print(f"{name:<32}{time.monotonic() - began:6.1f} s", flush=True)


def main() -> None:
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        project = NewProject(Path(folder))
        with timed("virtual environment and pip"):
            project.install()
        with timed("files, tables and a user"):
            project.prepare()
        with timed("server, login and first event"):
            project.receive()
    took = time.monotonic() - began
    print(f"{'in all':<32}{took:6.1f} s, {lines_of_code()} lines of code")
    if took > MAX_S or lines_of_code() >= MAX_LINES:
        sys.exit(f"More than {MAX_S:.0f} s, or {MAX_LINES} lines or more.")


if __name__ == "__main__":
    main()
