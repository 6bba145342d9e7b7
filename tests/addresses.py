"""The databases of server processes, as Django settings. Imports no pytest: that takes 0.1 s."""

import json
import os
from typing import Any

NAMES = ("sqlite", "postgres", "mariadb")


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
    raise ValueError(f"No database is called {name!r}: use one of {', '.join(NAMES)}.")


def entry_from_address(address: str) -> dict[str, Any]:
    """Return the entry for "sqlite::path", "postgres:port:name" or "mariadb:port:name"."""
    name, port, where = address.split(":", 2)
    found = entry(name, where, port)
    if name == "postgres":
        # As docs/deployment.md recommends; pytest's own connections have Django's defaults.
        found["OPTIONS"] = {"server_side_binding": True, "prepare_threshold": 5}
    return found


def teach_mysql_driver() -> None:
    """Make Django's MySQL backend use PyMySQL, which needs no compiler to install."""
    import pymysql

    # What Django asks of mysqlclient; PyMySQL has the API but not the number.
    pymysql.version_info = (2, 2, 7, "final", 0)
    pymysql.install_as_MySQLdb()


def from_environment(name: str, default: Any) -> Any:
    """Return the JSON value of an environment variable, `default` if it is not set."""
    text = os.environ.get(name)
    return default if not text else json.loads(text)
