"""What npm installs for the tests, once for all of them, and what is built from it."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import missing

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "js"  # the client for browsers
MODULES = ROOT / "node_modules"
LIMIT_S = 300
# What the bundles of js/tests/apps are made of.
SOURCES = ("js/src", "js/tests/apps", "js/build.js", "docs/browser.md", "package-lock.json")

# Datastar 1.0.1 as a module. The package is for Python 3.12 and later; its script is for browsers.
DATASTAR = ("--only-binary=:all:", "--python-version=3.13", "starhtml==0.7.0")


def run(*command: str, **options: Any) -> str:
    """Run a command in the package; return what it prints. Raises AssertionError."""
    options = {"cwd": PACKAGE, **options}
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, **options)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


def install() -> Path:
    """Install what package-lock.json names, unless it is; return its folder. Skips without npm."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        missing("Node.js and npm are not installed (on Debian: apt-get install nodejs npm)")
    wanted, done = ROOT / "package-lock.json", MODULES / ".package-lock.json"
    with _turn():
        if not done.exists() or done.stat().st_mtime < wanted.stat().st_mtime:
            run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=ROOT)
            done.touch()
    return MODULES


def apps() -> Path:
    """
    Return the folder with the bundles of js/tests/apps, and the package in `dist`.

    They are built once for all workers, and again after a change of what they are made of.
    """
    install()
    digest = hashlib.sha256()
    for path in _files():
        digest.update(path.read_bytes())
    folder = MODULES / ".cache" / "apps" / digest.hexdigest()[:16]
    with _turn():
        if not folder.exists():
            building = folder.with_name("building")
            shutil.rmtree(folder.parent, ignore_errors=True)
            building.mkdir(parents=True)
            run("node", "tests/apps/build.js", str(building))
            building.rename(folder)
    return folder


def datastar() -> None:
    """
    Put Datastar 1.0 in node_modules/.cache/datastar, from a package of PyPI: npm has no 1.0 of it.

    Skips where pip cannot download it.
    """
    found = MODULES / ".cache" / "datastar" / "datastar.js"
    with _turn():
        if found.exists():
            return
        found.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", *DATASTAR]
        done = subprocess.run(
            command, cwd=found.parent, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        if done.returncode:
            missing(f"pip could not download Datastar: {done.stderr[-300:]}")
        [wheel] = found.parent.glob("starhtml-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            found.write_bytes(archive.read("starhtml/static/js/datastar-core.js"))


def _files() -> Iterator[Path]:
    for name in SOURCES:
        path = ROOT / name
        yield from sorted(each for each in path.rglob("*") if each.is_file()) or [path]


@contextmanager
def _turn() -> Iterator[None]:
    """Wait until no other worker of pytest-xdist installs or builds."""
    with (ROOT / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
