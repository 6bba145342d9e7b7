"""Processes that are forked behave as those that are started."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests import forking
from tests.patience import PATIENCE_S
from tests.server import until

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks them")


def run(*arguments, **environment):
    command = [sys.executable, *arguments]
    return forking.run(command, cwd=ROOT, env={**os.environ, **environment}, timeout_s=PATIENCE_S)


def started(script, tmp_path):
    with (tmp_path / "output").open("wb") as output:
        command = [sys.executable, "-c", script]
        process = forking.popen(command, cwd=tmp_path, env=dict(os.environ), stdout=output)
    assert isinstance(process, forking.Forked)
    return process


def has_written(tmp_path):
    return until(lambda: (tmp_path / "output").read_text() != "", PATIENCE_S)


def test_output_errors_and_status_are_those_of_the_process():
    done = run("-c", "import sys; print('out'); sys.exit('err')")
    assert (done.returncode, done.stdout, done.stderr) == (1, "out\n", "err\n")
    done = run("-c", "raise ValueError('why')")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "ValueError: why"
    assert run("-c", "import os; os._exit(7)").returncode == 7
    assert run("-c", "import sys; sys.stdin.read()").returncode == 0


def test_modules_files_and_options_are_run_as_by_the_interpreter(tmp_path):
    file = tmp_path / "file.py"
    file.write_text("import sys\nprint(__name__, __file__, sys.path[0], sys.argv[1:])")
    done = run(str(file), "a", "b")
    assert done.stdout == f"__main__ {file} {tmp_path} ['a', 'b']\n"
    assert run("-m", "django", "--version").stdout[0].isdigit()
    warn = ("-c", "import warnings; warnings.warn('w', ResourceWarning)")
    assert run(*warn).returncode == 0
    assert "ResourceWarning: w" in run("-W", "error", *warn).stderr


def test_it_has_only_its_own_environment_and_imports_from_its_own_path(tmp_path):
    (tmp_path / "mine.py").write_text("print('mine')")
    done = run(
        "-c", "import mine, os; print(os.environ['ONE'])", PYTHONPATH=str(tmp_path), ONE="1"
    )
    assert done.stdout == "mine\n1\n"
    assert run("-c", "import mine").returncode == 1
    assert run("-c", "import os; print(os.environ.get('ONE'))").stdout == "None\n"


def test_nothing_of_the_package_and_no_event_loop_is_shared():
    script = "import sys; print([n for n in sys.modules if n.startswith(('eric_sse', 'tests'))])"
    assert run("-c", script).stdout == "[]\n"
    files = run("-c", "import os; print(sorted(map(int, os.listdir('/proc/self/fd')))[:3])")
    assert files.stdout == "[0, 1, 2]\n"
    imported = run("-c", "import sys; print('django.db.models' in sys.modules)")
    assert imported.stdout == "True\n"


def test_what_is_registered_for_the_end_is_done():
    assert run("-c", "import atexit; atexit.register(print, 'end')").stdout == "end\n"


def test_a_process_gets_signals_and_its_status_names_them(tmp_path):
    process = started("import time; print('up'); time.sleep(60)", tmp_path)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    assert process.poll() is None
    assert os.getsid(process.pid) == process.pid
    process.terminate()
    assert process.wait(PATIENCE_S) == process.poll() == -signal.SIGTERM
    process.kill()  # it has ended: nothing


def test_ctrl_c_raises_keyboard_interrupt(tmp_path):
    script = "import time\ntry: print('up'); time.sleep(60)\nexcept KeyboardInterrupt: exit(5)"
    process = started(script, tmp_path)
    assert has_written(tmp_path)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 5


def test_what_an_interpreter_reads_at_its_start_gets_a_process_of_its_own(tmp_path):
    shown = ("-c", "import sys; print(sys.flags.hash_randomization)")
    assert run(*shown).stdout == "1\n"
    assert run(*shown, PYTHONHASHSEED="0").stdout == "0\n"


PARENT = """
import os, sys, time
from tests import forking
for dies in (True, False):
    process = forking.popen(
        [sys.executable, "-c", "import time; time.sleep(60)"],
        cwd=".", env=dict(os.environ), stdout=1, dies_with_us=dies,
    )
    print(process.pid)
time.sleep(60)
"""


def test_a_process_dies_with_the_one_that_started_it_if_that_was_asked(tmp_path):
    output = tmp_path / "output"
    with output.open("wb") as file:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", PARENT]
        parent = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=file)
    assert until(lambda: output.read_text().count("\n") == 2, PATIENCE_S)
    dies, stays = map(psutil.Process, map(int, output.read_text().split()))
    parent.kill()
    parent.wait(PATIENCE_S)
    gone = (psutil.STATUS_ZOMBIE,)

    def has_ended():
        with suppress(psutil.NoSuchProcess):
            return dies.status() in gone
        return True

    try:
        assert until(has_ended, PATIENCE_S)
        assert stays.status() not in gone
    finally:
        stays.kill()


async def test_coroutines_write_to_it_read_from_it_and_wait_for_its_end():
    script = "import sys; print('up'); sys.stdin.read(); print('end')"
    command = [sys.executable, "-c", script]
    process = await forking.start(command, cwd=ROOT, env=dict(os.environ), pipes=True)
    assert await process.output.readline() == b"up\n"
    assert process.returncode is None
    process.end_input()
    assert await process.output.read() == b"end\n"
    assert await process.wait() == 0
