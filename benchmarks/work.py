"""The works: what is done and measured, and the targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.stage import Apart, Stage
from benchmarks.subject import BARE, Subject
from benchmarks.tally import Wrong


@dataclass(frozen=True)
class Target:
    """The target of this app: a multiple of the ceiling (`times`), or an absolute figure."""

    value: float
    times: bool = True
    at_least: bool = True

    def __str__(self) -> str:
        bound = "≥" if self.at_least else "≤"
        return f"{bound} {self.value:,g}{' ×' if self.times else ''}"

    def met(self, figure: float, ratio: float | None) -> bool | None:
        """Return whether it is reached; None without a ceiling to compare with."""
        found = ratio if self.times else figure
        if found is None:
            return None
        return found >= self.value if self.at_least else found <= self.value


@dataclass(frozen=True)
class Rival:
    """What this app's figure should be beside a rival's, on the same server and database."""

    name: str
    times: float
    database: str

    def __str__(self) -> str:
        return f"≥ {self.times:g} × on {self.database}"


@dataclass(frozen=True)
class Measure:
    """
    A figure of a work. Its ceiling is the bare app's figure of the same name on the same server,
    or (`ceiling`) another figure of the same run.
    """

    name: str
    target: Target | None = None
    ceiling: str | None = BARE
    digits: int = 0
    # The database that the target applies to; None: all.
    target_for: str | None = None
    # Its line in the table of docs/benchmarks.md; None: it has none.
    short: str | None = None
    rival: Rival | None = None


@dataclass
class Found:
    """The result of one round of a work."""

    figures: dict[str, float]
    wrong: Wrong = field(default_factory=Wrong)


@dataclass(frozen=True)
class Work:
    """
    One kind of load: `run` applies it once to a stage, and `measures` describe the figures.

    The first measure is drawn in the picture. `apart` is the process that publishes, if that is
    not the server.
    """

    name: str
    title: str
    measures: tuple[Measure, ...]
    names: frozenset[str]
    run: Callable[[Stage], Found]
    databases: frozenset[str | None] = frozenset({None, "SQLite", "PostgreSQL"})
    apart: Apart | None = None
    # Added to this app's ERIC_SSE.
    settings: Mapping[str, Any] = field(default_factory=dict)
    # Rounds at most, where one is exact and long; None: as many as are asked for.
    rounds: int | None = None

    def suits(self, subject: Subject) -> bool:
        """Whether this subject supports it."""
        is_able = subject.only is None or self.name in subject.only
        return is_able and subject.name in self.names and subject.database in self.databases
