"""The databases of the test site: their Django settings, and the marks that pick them."""

import os
from importlib.util import find_spec
from typing import Any

import pytest

from tests import servers
from tests.addresses import entry

# The name in a test's id, and the alias in settings.DATABASES.
ALIASES = {"sqlite": "default", "postgres": "postgres", "mariadb": "mariadb"}

# Instead of a database's name: the test uses none, but a log in memory.
MEMORY = "memory"

# Where users are, when that is another database than the test's: "sqlite" or "postgres".
USERS = os.environ.get("ERIC_SSE_TEST_USERS") or None


def absence(name: str) -> str | None:
    """Return why the database `name` is not available on this machine, None if it can."""
    if name == "postgres":
        if find_spec("psycopg") is None:
            return "PostgreSQL's driver psycopg is not installed"
        return servers.Postgres.absence()
    if name == "mariadb":
        if find_spec("pymysql") is None:
            return "MariaDB's driver pymysql is not installed"
        return servers.MariaDB.absence()
    return None


def all_entries() -> dict[str, dict[str, Any]]:
    """
    Return DATABASES for pytest: every database that this machine can bring.

    The ports of PostgreSQL and MariaDB are empty until the session needs their servers.
    """
    present = {alias: name for name, alias in ALIASES.items() if absence(name) is None}
    entries = {alias: entry(name, "eric_sse") for alias, name in present.items()}
    # Only for a command run by hand with these settings; the suffix is in .gitignore.
    entries["default"]["NAME"] = "tests.sqlite3"
    if USERS is not None:
        entries["users"] = entry(USERS, "eric_sse_users")
        entries["users"].setdefault("TEST", {})["DEPENDENCIES"] = []
    for found in entries.values():
        if found["ENGINE"].endswith(".postgresql"):
            found["ENGINE"] = "tests.postgres_backend"
    entries["replica"] = {"ENGINE": "django.db.backends.dummy"}  # which raises at each query
    return entries


def address(alias: str) -> str:
    """Return the address (see tests.addresses) of the database a test uses as `alias`."""
    from django.db import connections

    settings = connections[alias].settings_dict
    name = next(name for name, known in ALIASES.items() if known == alias)
    return f"{name}:{settings['PORT']}:{settings['NAME']}"


def param(name: str, transaction: bool) -> Any:
    """Return the pytest.param that lets a test use just the database `name`, or none: MEMORY."""
    if name == MEMORY:
        return pytest.param(name, id=name)
    aliases = [ALIASES[name]] if USERS is None else [ALIASES[name], "users"]
    mark = pytest.mark.django_db(transaction=transaction, databases=aliases)
    return pytest.param(name, marks=[mark], id=name)


def on(*names: str, transaction: bool = True) -> pytest.MarkDecorator:
    """
    Return a mark that runs tests which use the `database` fixture on these databases only.

    With transaction=False each test runs inside a transaction that is rolled back: faster,
    but other threads and processes see nothing of it and on_commit hooks do not run.
    """
    params = [param(name, transaction) for name in names]
    return pytest.mark.parametrize("database", params, indirect=True)


sqlite_only = on("sqlite")
postgres_only = on("postgres")
mariadb_only = on("mariadb")
rolled_back = on(*ALIASES, transaction=False)
sqlite_rolled_back = on("sqlite", transaction=False)
