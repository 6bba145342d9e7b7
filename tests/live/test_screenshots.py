"""The pictures in the documents can be made again."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.scale import LONG_S

pytestmark = pytest.mark.timeout(LONG_S)

pytest.importorskip("playwright.sync_api")

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
# kB of all pictures: who clones the repository has each version of them.
MOST_KB = 900
# Made by other commands: see benchmarks/README.md and docs/reliability.md.
PLOTS = {"growth.svg", "scaling.svg", "soak.png", "benchmarks.svg"}
TIMEOUT_S = 120


def test_the_command_makes_every_picture(chromium, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "docs.screenshots", "--into", str(tmp_path), "--watch", "3"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {path.name for path in IMAGES.iterdir()} - PLOTS


def test_the_pictures_are_small():
    assert sum(path.stat().st_size for path in IMAGES.iterdir()) < MOST_KB * 1024
