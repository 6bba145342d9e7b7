"""The ways to stream what is produced: applications, and where they keep it."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.subject import Subject

APPLICATION, SETTINGS = "benchmarks.runs.site:application", "benchmarks.runs.settings"


@dataclass(frozen=True)
class Way:
    """One way: its kind in the site and the worker, and what it needs."""

    name: str
    kind: str
    subject: Subject
    redis: bool = False
    # Whether a client can attach to what was produced, also once that has ended.
    keeps: bool = True
    # Whether a stream begins with a byte before the first token.
    greets: bool = True


def _subject(name: str, database: str) -> Subject:
    return Subject(name, "uvicorn", APPLICATION, database, SETTINGS)


DIRECT, REDIS = "a response that keeps nothing", "lists and pub/sub of Redis"
WAYS = (
    Way(DIRECT, "direct", _subject(DIRECT, "SQLite"), keeps=False),
    Way(REDIS, "redis", _subject(REDIS, "SQLite"), redis=True),
    Way("runs, PostgreSQL", "runs", _subject("runs", "PostgreSQL"), redis=True),
    Way("runs, SQLite", "runs", _subject("runs", "SQLite")),
)
