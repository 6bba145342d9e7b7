"""The benchmarks run, and nothing is lost, repeated or out of order in them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.scale import LONG_S

pytestmark = [pytest.mark.timeout(LONG_S), pytest.mark.alone]

ROOT = Path(__file__).parents[2]


def test_the_benchmarks_of_this_app_beside_a_bare_one_run(tmp_path):
    options = ["--quick", "--listeners", "20", "--out", str(tmp_path)]
    subjects = ["bare app, uvicorn", "this app, SQLite, uvicorn"]
    works = ["fanout", "publish", "backlog", "dispatch"]
    environment = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *options, "--subjects", *subjects, "--works", *works],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    measured = {(row["work"], row["subject"]) for row in results["rows"]}
    assert measured == {
        *((work, "this app") for work in works),
        ("fanout", "bare app"),
        ("backlog", "bare app"),
    }
    assert set(results["skipped"]) <= {"plots"}
    assert (tmp_path / "results.svg").exists() != ("plots" in results["skipped"])
    assert "## Broadcasts at full speed, one call each" in (tmp_path / "results.md").read_text()


@pytest.mark.slow
def test_the_benchmark_of_runs_loses_no_token(tmp_path):
    options = ["--runs", "5", "--seconds", "1", "--rounds", "1", "--attach", "100"]
    environment = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.runs", *options, "--out", str(tmp_path)],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "runs.json").read_text())
    assert len(rows) == 7  # four ways, and three that can be attached to
    assert "rows a second of a run" in (tmp_path / "runs.md").read_text()
