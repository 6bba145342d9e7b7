"""The database of a Django application under test: an address in the environment."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

VARIABLE = "ERIC_SSE_BENCH_DB"
# SQLite's: NORMAL syncs the log of a database at checkpoints, FULL at each commit.
SYNCHRONOUS = "ERIC_SSE_BENCH_SYNCHRONOUS"


def entry() -> dict[str, Any]:
    """Return DATABASES["default"] for an address: postgresql://… or the path of a file."""
    address = os.environ[VARIABLE]
    if "://" not in address:
        synchronous = os.environ.get(SYNCHRONOUS, "NORMAL")
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": address,
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": f"PRAGMA journal_mode=WAL; PRAGMA synchronous={synchronous};",
            },
        }
    parts = urlsplit(address)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": parts.hostname,
        "PORT": parts.port,
        "USER": parts.username,
        "NAME": parts.path.strip("/"),
        # As docs/deployment.md recommends, for all subjects and for the bare INSERT.
        "OPTIONS": {"server_side_binding": True, "prepare_threshold": 5},
    }
