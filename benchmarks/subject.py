"""The subjects: applications on a server, with their database and packages."""

from __future__ import annotations

from dataclasses import dataclass

BARE, JOINING, OURS = "bare app", "bare app that joins writes", "this app"
EVENTSTREAM, ERIC, STARLETTE = "django-eventstream", "eric-sse, eric-api", "sse-starlette"

FULL = "SQLite, synchronous=FULL"

UVICORN = ("uvicorn==0.54.*", "uvloop==0.23.*", "httptools==0.9.*")


@dataclass(frozen=True)
class Subject:
    """
    An application under test. README.md lists its addresses.

    pip installs `packages` in a separate environment; without any, the app runs in this one.
    """

    name: str
    server: str
    application: str
    database: str | None = None  # "SQLite", FULL, "PostgreSQL"; None: in memory
    settings: str | None = None
    packages: tuple[str, ...] = ()
    # Whether a stream sends a byte before the first message.
    greets: bool = True
    # The works that it can do, by name; None: all that are for subjects of its name.
    only: frozenset[str] | None = None

    @property
    def synchronous(self) -> str:
        """SQLite's setting: whether a commit waits until the disk has it."""
        return "FULL" if self.database == FULL else "NORMAL"

    def __str__(self) -> str:
        parts = (self.name, self.database, self.server)
        return ", ".join(part for part in parts if part)


def _bare(server: str) -> Subject:
    return Subject(BARE, server, "benchmarks.bare:application")


def _joining(server: str) -> Subject:
    return Subject(JOINING, server, "benchmarks.bare:joining")


def _ours(server: str, database: str) -> Subject:
    application = "benchmarks.durable:application"
    return Subject(OURS, server, application, database, "benchmarks.settings")


def _eventstream(server: str, database: str, *only: str) -> Subject:
    packages = ("django-eventstream==5.3.4", "django==5.2.*", "channels==4.3.2", "daphne==4.2.3")
    return Subject(
        EVENTSTREAM,
        server,
        "benchmarks.rivals.eventstream:application",
        database,
        "benchmarks.rivals.eventstream_settings",
        (*packages, "psycopg[binary]==3.3.*", *UVICORN),
        only=frozenset(only) or None,
    )


SUBJECTS = (
    _bare("uvicorn"),
    _bare("daphne"),
    _joining("uvicorn"),
    _joining("daphne"),
    _ours("uvicorn", "SQLite"),
    _ours("daphne", "SQLite"),
    _ours("uvicorn", "PostgreSQL"),
    _ours("uvicorn", FULL),
    _eventstream("uvicorn", "SQLite"),
    _eventstream("daphne", "SQLite"),
    # It keeps a connection for each stream: PostgreSQL refuses 1,000.
    _eventstream("uvicorn", "PostgreSQL", "single", "publish", "backlog"),
    _eventstream("uvicorn", FULL),
    Subject(
        ERIC,
        "uvicorn",
        "benchmarks.rivals.eric_memory:application",
        # A separate uvicorn: eric-api requires one before 0.35.
        packages=("eric-sse==2.1.1.2", "eric-api==1.6.0.9", *UVICORN[1:]),
        greets=False,
    ),
    Subject(
        STARLETTE,
        "uvicorn",
        "benchmarks.rivals.starlette_memory:application",
        packages=("sse-starlette==3.7.*", *UVICORN),
    ),
)
