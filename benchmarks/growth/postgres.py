"""The server: PostgreSQL as a small production has it, with two databases."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from benchmarks.ground import Postgres

SETTINGS = {
    # A tenth of 10,000,000 rows with their indexes: they are more than the cache, as in life.
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "maintenance_work_mem": "512MB",
    "checkpoint_timeout": "15min",
}


class Production(Postgres):
    """Commits are synced to the disk, and the server has some memory."""

    def __init__(self) -> None:
        super().__init__(durable=True)

    def command(self) -> list[str]:
        return super().command() + [f"--{name}={value}" for name, value in SETTINGS.items()]

    def __exit__(self, *_: object) -> None:
        self.discard()  # stopping in order would first write gigabytes that nobody wants

    def create(self, names: Sequence[str]) -> None:
        """
        Create empty databases.

        Their commits do not wait for the disk, which would hide what the log costs, unless a
        session asks for it.
        """
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            for name in names:
                for statement in (
                    f"CREATE DATABASE {name}",
                    f"ALTER DATABASE {name} SET synchronous_commit = off",
                ):
                    connection.execute(statement)

    def address(self, name: str) -> str:
        """Return what settings.py takes for one of them."""
        return f"postgres:{self.port}:{name}"
