"""The screenshots in the documentation can be created again."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.scale import LONG_S

pytestmark = pytest.mark.timeout(LONG_S)

pytest.importorskip("playwright.sync_api")

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
# kB of all images: a clone of the repository contains every version of them.
MAX_KB = 1_000
# Created by other commands: see benchmarks/README.md and docs/reliability.md.
PLOTS = {"growth.svg", "scaling.svg", "soak.png", "benchmarks.svg", "streams.svg", "steady.svg"}
TIMEOUT_S = 240


@pytest.mark.slow
def test_the_command_creates_every_screenshot(chromium, tmp_path):
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
    created = {path.name for path in tmp_path.iterdir()}
    assert created == {path.name for path in IMAGES.iterdir()} - PLOTS


def test_the_images_are_small():
    assert sum(path.stat().st_size for path in IMAGES.iterdir()) < MAX_KB * 1024
