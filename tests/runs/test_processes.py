"""What a process that forks, ends or is killed has written, is kept."""

import os
import signal
import subprocess
import sys

import pytest

from eric_sse_django import runs
from tests import databases
from tests.database import process
from tests.runs.tools import fresh, late, text_of, types_of

PREAMBLE = """
import django, os, signal, sys, threading, time
django.setup()
from eric_sse_django import runs
run = runs.get(sys.argv[1])
slow = {"RUNS_FLUSH_S": 5.0}  # what is not written at an end would be missing
from django.test import override_settings
override_settings(ERIC_SSE=slow).enable()
"""

pytestmark = [databases.sqlite_only, pytest.mark.live]


def begun(script: str, alias: str, run) -> subprocess.Popen[str]:
    """Start a process that produces a run; `script` prints a line when it has written."""
    return subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + script, run.id],
        cwd=process.ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "ERIC_SSE_TEST_DB": databases.address(alias),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )


def ended(child: subprocess.Popen[str]) -> int:
    child.communicate(timeout=process.TIMEOUT_S)
    return child.returncode


WRITING = """
producing = runs.produce(run)
out = producing.__enter__()
out.write("one ")
out.flush()
out.write("two ")
out.write("three")
"""


def test_a_process_that_ends_writes_what_waits_and_its_run_is_lost(database):
    run = runs.start()
    assert ended(begun(f"{WRITING}", database, run)) == 0
    assert text_of(run) == "one two three"
    assert fresh(run).status == "lost"


def test_a_process_that_ends_long_after_its_last_output_ends_its_run(database):
    run = runs.start()
    # The writer's thread has ended meanwhile.
    waiting = "from eric_sse_django.runs import writer\nwriter.current()._workers._idle_s = 0.1\n"
    script = f"{waiting}{WRITING}\nout.flush()\nwriter.CHECK_S = 60\ntime.sleep(1)"
    assert ended(begun(script, database, run)) == 0
    assert (text_of(run), fresh(run).status) == ("one two three", "lost")


def test_a_process_that_is_terminated_writes_what_waits(database):
    run = runs.start()
    child = begun(f"{WRITING}\nprint('written', flush=True)\ntime.sleep(60)", database, run)
    assert child.stdout.readline() == "written\n"
    child.send_signal(signal.SIGTERM)
    assert ended(child) != 0
    assert text_of(run) == "one two three"
    assert (fresh(run).status, types_of(run)[-1]) == ("lost", "run-lost")


def test_a_process_that_forks_writes_what_waits_before_its_parent_ends(database):
    run = runs.start()
    script = f"{WRITING}\nif os.fork():\n    os._exit(0)\nos._exit(0)"
    assert ended(begun(script, database, run)) == 0
    assert text_of(run) == "one two three"


def test_a_child_process_that_leaves_the_block_changes_nothing(database):
    run = runs.start()
    script = """
with runs.produce(run) as out:
    out.write("one ")
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        out.write("two")
"""
    assert ended(begun(script, database, run)) == 0
    assert (text_of(run), fresh(run).status) == ("one two", "finished")


def test_what_a_killed_process_has_written_is_kept_and_another_continues(database):
    run = runs.start()
    child = begun(f"{WRITING}\nprint('written', flush=True)\ntime.sleep(60)", database, run)
    assert child.stdout.readline() == "written\n"
    child.kill()
    ended(child)
    with pytest.raises(runs.RunTaken), runs.produce(runs.get(run.id)):
        pass
    late(run)
    with runs.produce(runs.get(run.id)) as out:
        assert out.index == 1
        out.write("and more")
    assert text_of(run) == "one and more"
