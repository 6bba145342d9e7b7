"""The benchmarks run, and nothing is lost, repeated or out of order in them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.scale import LONG_S

pytestmark = [pytest.mark.timeout(LONG_S), pytest.mark.alone]

ROOT = Path(__file__).parents[2]
OURS = "this app, SQLite, uvicorn"


def run(module, *options):
    environment = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(
        [sys.executable, "-m", module, *options],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def page(tmp_path):
    """Return a copy of the page that the benchmarks write into."""
    (tmp_path / "images").mkdir()
    return Path(shutil.copy(ROOT / "docs" / "benchmarks.md", tmp_path))


def test_the_benchmarks_of_this_app_beside_a_bare_one_run(tmp_path, page):
    options = ["--quick", "--listeners", "20", "--out", str(tmp_path), "--write", str(page)]
    works = ["fanout", "publish", "backlog", "dispatch"]
    subjects = ["--subjects", "bare app, uvicorn", OURS]
    run("benchmarks", *options, *subjects, "--works", *works)
    results = json.loads((tmp_path / "results.json").read_text())
    measured = {(row["work"], row["subject"]) for row in results["rows"]}
    assert measured == {
        *((work, "this app") for work in works),
        ("fanout", "bare app"),
        ("backlog", "bare app"),
    }
    assert {found["django"] for found in results["versions"].values()}
    assert set(results["skipped"]) <= {"plots"}
    assert (tmp_path / "results.svg").exists() != ("plots" in results["skipped"])
    assert "### Broadcasts at full speed, one call each" in (tmp_path / "results.md").read_text()
    assert "| 20 listeners, at full speed: deliveries/s | ≥ 3 × |" in page.read_text()


@pytest.mark.slow
def test_more_streams_and_steady_load_lose_no_message(tmp_path, page):
    options = ["--out", str(tmp_path), "--write", str(page)]
    small = ["--sizes", "5", "10", "--idle", "0.5", "--messages", "5", "--pace", "10"]
    run("benchmarks.streams", *options, *small, "--subjects", OURS)
    points = json.loads((tmp_path / "streams.json").read_text())["points"]
    assert [point["streams"] for point in points] == [5, 10]
    short = ["--minutes", "0.05", "--streams", "10", "--every", "1", "--subject", OURS]
    run("benchmarks.soak", *options, *short)
    assert json.loads((tmp_path / "soak.json").read_text())["samples"]
    assert f"| {OURS} | 10 |" in page.read_text()
    assert {path.name for path in (tmp_path / "images").iterdir()} == {"streams.svg", "steady.svg"}


@pytest.mark.slow
def test_the_benchmark_of_runs_loses_no_token(tmp_path):
    options = ["--runs", "5", "--seconds", "1", "--rounds", "1", "--attach", "100"]
    run("benchmarks.runs", *options, "--out", str(tmp_path))
    rows = json.loads((tmp_path / "runs.json").read_text())
    assert len(rows) == 7  # four ways, and three that can be attached to
    assert "rows a second of a run" in (tmp_path / "runs.md").read_text()
