"""The app's tables in one database, the users in another: migrated by routers, and used."""

import os
import subprocess
import sys

import pytest

from tests import databases
from tests.conftest import missing

# What touches users: owners, sessions, tokens, the admin.
FILES = [
    "tests/database/users_elsewhere.py",
    "tests/database/test_channel.py",
    "tests/database/test_shortcuts.py",
    "tests/streams/test_consumers.py",
    "tests/streams/test_revocation.py",
    "tests/streams/test_user_signals.py",
    "tests/admin/test_pages.py",
    "tests/admin/test_actions.py",
    "tests/api/test_callers.py",
    "tests/api/test_listeners.py",
    "tests/api/test_publishing.py",
]
# With another database server, what touches both databases.
BOTH = [
    "tests/database/users_elsewhere.py",
    "tests/streams/test_revocation.py",
    "tests/admin/test_actions.py",
    "tests/api/test_listeners.py",
]
PATIENCE_S = 170


@pytest.mark.live
@pytest.mark.parametrize(
    ("log", "users"), [("sqlite", "sqlite"), ("postgres", "postgres"), ("mariadb", "sqlite")]
)
def test_the_tests_pass_with_the_users_in_another_database(log, users):
    for name in (log, users):
        if reason := databases.absence(name):
            missing(reason)
    files = BOTH if log == "mariadb" else FILES
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-k", log, *files, "-p", "no:cacheprovider"],
        env={**os.environ, "ERIC_SSE_TEST_USERS": users},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
