"""A new project with the code of a page, unchanged: README's quick start, or the tutorial."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
import psutil

from tests.live.asgi_servers import ROOT
from tests.server import free_port, until

README = (ROOT / "README.md").read_text()
SECTION = README.split("## In your project, in five minutes\n")[1].split("\n## ")[0]
# A line that begins with the name of a file, and the block below it: (path, where, text).
BLOCK = re.compile(r"^`([\w./]+)`([^`\n]*):\n\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS: list[tuple[str, str, str]] = BLOCK.findall(SECTION)


def commands(text: str) -> list[str]:
    """Return the shell commands in a Markdown text."""
    return re.findall(r"^    (\S.*)$", re.sub(r"```.*?```", "", text, flags=re.S), re.M)


COMMANDS = commands(SECTION)
CODE = re.findall(r"^```\w+\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
[PUBLISHING] = [block for block in CODE if "order.customer" in block]
[WITH_CURL] = [block for block in CODE if "curl" in block]

NAME, PASSWORD = "ada", "tea at half past 4"
PATIENCE_S = 60.0
# Seconds until a server answers: the demo's command installs packages first.
START_PATIENCE_S = 120.0


def command(beginning: str) -> str:
    """Return the only command of the quick start that begins with this text."""
    [found] = [each for each in COMMANDS if each.startswith(beginning)]
    return found


class Project:
    """An empty folder, and the commands of a user who has this package installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = clean_environment() | {"PYTHONPATH": str(ROOT)}
        self.environment["PYTHONWARNINGS"] = "error"

    def write(self, path: str, where: str, text: str) -> None:
        """Write a block of a page into its file: ", at the end", or as the whole file."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        before = file.read_text() + "\n" if "at the end" in where else ""
        file.write_text(before + text)

    def run(self, line: str) -> str:
        """Return the output of a shell command; raise AssertionError if it fails."""
        done = subprocess.run(
            line,
            shell=True,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def serve(self, line: str) -> AbstractContextManager[str]:
        """Run a server while the block runs, see serving()."""
        return serving(line, self.folder, self.environment, "/admin/login/")

    def converse(self, line: str, *answers: tuple[str, str]) -> None:
        """Run a shell command in a terminal, and answer each of its questions."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self.folder)
            os.execvpe("/bin/sh", ["sh", "-c", line], self.environment)
        output = b""
        deadline = time.monotonic() + PATIENCE_S
        for question, answer in answers:
            while question.encode() not in output:
                assert time.monotonic() < deadline, f"{line}\n{output!r} lacks {question!r}"
                if select.select([terminal], [], [], 0.2)[0]:
                    output += os.read(terminal, 4_096)
            output = b""
            os.write(terminal, f"{answer}\n".encode())
        os.waitpid(pid, 0)
        os.close(terminal)


def clean_environment() -> dict[str, str]:
    """Return a new user's environment: the commands of this Python, and no test settings."""
    ignored = ("DJANGO", "ERIC", "PYTEST", "PYTHONPATH")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ignored)}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return inherited | {"PATH": path, "PYTHONUNBUFFERED": "1"}


@contextmanager
def serving(line: str, folder: Path, environment: dict[str, str], path: str) -> Iterator[str]:
    """
    Run the shell command of a server, with a free `{port}`, while the block runs; yield its URL.

    Raises AssertionError if the server does not answer at the path within two minutes.
    """
    port = free_port()
    url, log = f"http://127.0.0.1:{port}", folder / "server.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            line.format(port=port),
            shell=True,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        until(lambda: process.poll() is not None or _answers(url + path), START_PATIENCE_S)
        assert _answers(url + path), log.read_text()
        yield url
    finally:
        if process.poll() is None:
            family = psutil.Process(process.pid)
            for member in [*family.children(recursive=True), family]:
                member.kill()
            process.wait(PATIENCE_S)
        print(log.read_text(), file=sys.stderr)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def log_in(client: httpx.Client, path: str) -> httpx.Response:
    """Log in at a path that requires it, and return the page."""
    form = client.get(path)
    [token] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', form.text)
    fields = {"username": NAME, "password": PASSWORD, "csrfmiddlewaretoken": token, "next": path}
    return client.post(str(form.url), data=fields)
