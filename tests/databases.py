"""The databases of the test site: their Django settings, and the marks that pick them."""

import json
import os
from importlib.util import find_spec
from typing import Any

import pytest

from tests import servers

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


def entry(name: str, where: str, port: str = "") -> dict[str, Any]:
    """Return the settings.DATABASES entry of database `where` (SQLite: a file) on `port`."""
    if name == "sqlite":
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": where,
            "OPTIONS": {
                # Without IMMEDIATE a transaction that reads before it writes fails at once
                # with "database is locked" when another one writes.
                "transaction_mode": "IMMEDIATE",
                "timeout": float(os.environ.get("ERIC_SSE_TEST_SQLITE_TIMEOUT_S", "20")),
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
            },
        }
    common = {"NAME": where, "HOST": "127.0.0.1", "PORT": port, "PASSWORD": ""}
    # Django's default is to wait for "default", which a run of one database never creates.
    test: dict[str, Any] = {"DEPENDENCIES": []}
    if name == "postgres":
        return {
            "ENGINE": "django.db.backends.postgresql",
            "USER": "postgres",
            "TEST": test,
            **common,
        }
    if name == "mariadb":
        return {
            "ENGINE": "django.db.backends.mysql",
            "USER": "root",
            # Looking for certificates takes PyMySQL 15 ms a connection.
            "OPTIONS": {"charset": "utf8mb4", "ssl_disabled": True},
            "TEST": {"CHARSET": "utf8mb4", "COLLATION": "utf8mb4_unicode_ci", **test},
            **common,
        }
    raise ValueError(f"No database is called {name!r}: use one of {', '.join(ALIASES)}.")


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


def entry_from_address(address: str) -> dict[str, Any]:
    """Return the entry for "sqlite::path", "postgres:port:name" or "mariadb:port:name"."""
    name, port, where = address.split(":", 2)
    found = entry(name, where, port)
    if name == "postgres":
        # As docs/deployment.md recommends; pytest's own connections have Django's defaults.
        found["OPTIONS"] = {"server_side_binding": True, "prepare_threshold": 5}
    return found


def address(alias: str) -> str:
    """Return the address (see entry_from_address) of the database a test uses as `alias`."""
    from django.db import connections

    settings = connections[alias].settings_dict
    name = next(name for name, known in ALIASES.items() if known == alias)
    return f"{name}:{settings['PORT']}:{settings['NAME']}"


def teach_mysql_driver() -> None:
    """Make Django's MySQL backend use PyMySQL, which needs no compiler to install."""
    import pymysql

    # What Django asks of mysqlclient; PyMySQL has the API but not the number.
    pymysql.version_info = (2, 2, 7, "final", 0)
    pymysql.install_as_MySQLdb()


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


def from_environment(name: str, default: Any) -> Any:
    """Return the JSON value of an environment variable, `default` if it is not set."""
    text = os.environ.get(name)
    return default if not text else json.loads(text)
