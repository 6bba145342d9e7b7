"""`python -m tests.faults`: SIGKILL at random moments, and nothing is lost."""

import os
import shutil
import subprocess
import sys

import psutil
import pytest

from tests import databases
from tests.conftest import missing
from tests.faults import command
from tests.faults.scale import LONG_S, sized
from tests.live import site
from tests.live.asgi_servers import ROOT
from tests.server import until

pytestmark = pytest.mark.timeout(LONG_S)

OPTIONS = ("--clients", "20", "--pause", "0.05")
# Twelve take 10 s. Of 30, half a minute; of 250, docs/reliability.md has the results.
KILLS = sized(12, 30)
TIMEOUT_S = 180


@pytest.mark.parametrize("name", ["sqlite", "postgres"])
def test_kills_of_servers_publishers_and_workers_lose_nothing(name, tmp_path):
    reason = databases.absence(name)
    if reason is not None:
        missing(reason)
    options = ("--kills", str(KILLS), "--database", name, *OPTIONS)
    found = command.run("tests.faults", *options, directory=tmp_path, timeout_s=TIMEOUT_S)
    assert found["status"] == 0
    assert found["verdict"]["good"]
    assert found["kills"]["total"] >= KILLS
    assert {"server", "publisher", "worker"} <= found["kills"].keys()
    assert found["accepted"] > 0
    assert found["delivered"] > found["accepted"]
    assert found["connections"] > found["clients"]
    assert found["errors"] == []


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not on this machine")
async def test_the_processes_of_the_command_end_with_it(tmp_path):
    started_by = subprocess.Popen(
        [sys.executable, "-m", "tests.faults", "--kills", "1000", *OPTIONS],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},  # what it cannot remove goes with that
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        parent = psutil.Process(started_by.pid)
        # Two servers, two publishers and two workers, all at work.
        await site.until(lambda: len(parent.children(recursive=True)) >= 6, 60)
        started = parent.children(recursive=True)
    finally:
        started_by.kill()
        started_by.wait(10)
    assert until(lambda: not any(child.is_running() for child in started), 5)
