"""The server: PostgreSQL as in a small production site, with two databases."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from benchmarks.servers import Postgres

SETTINGS = {
    # A tenth of 10,000,000 rows with their indexes: as in production, they exceed the cache.
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "maintenance_work_mem": "512MB",
    "checkpoint_timeout": "15min",
}


class Production(Postgres):
    """PostgreSQL that syncs commits to the disk, with some memory."""

    def __init__(self) -> None:
        super().__init__(durable=True)

    def command(self) -> list[str]:
        return super().command() + [f"--{name}={value}" for name, value in SETTINGS.items()]

    def __exit__(self, *_: object) -> None:
        self.discard()  # a clean stop would first write gigabytes that are not needed

    def create(self, names: Sequence[str]) -> None:
        """
        Create empty databases.

        Their commits do not wait for the disk, which would hide the costs of the log, unless a
        session enables it.
        """
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            for name in names:
                for statement in (
                    f"CREATE DATABASE {name}",
                    f"ALTER DATABASE {name} SET synchronous_commit = off",
                ):
                    connection.execute(statement)

    def address(self, name: str) -> str:
        """Return the address of one of them, for settings.py."""
        return f"postgres:{self.port}:{name}"
