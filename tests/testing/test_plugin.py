"""pytest loads the plugin in every project where this app is installed: it disturbs none."""

import os
import subprocess
import sys
from pathlib import Path

from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
# A project that sets up its own database for tests, and has no settings of Django.
UNRELATED = """
import sys
import pytest

@pytest.fixture(scope="session")
def django_db_setup():
    yield

def test_its_own(django_db_setup):
    assert not {"django", "daphne", "asgiref"} & set(sys.modules)
"""


def test_a_project_without_django_is_left_alone(tmp_path):
    (tmp_path / "test_unrelated.py").write_text(UNRELATED)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    plugin = "eric_sse_django.pytest_plugin"
    command = [sys.executable, "-m", "pytest", "-q", "-p", plugin, "-p", "no:cacheprovider"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
