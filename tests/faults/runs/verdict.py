"""The judge compares what the workers write, the log, and what each client has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.faults.runs.clients import RunClient
from tests.live.runs_words import text

# Findings kept as text; further ones are only counted.
MAX_FINDINGS = 20


@dataclass(frozen=True)
class Row:
    """A run as the database has it, with its text and the indexes of its chunks."""

    thread: str
    status: str
    epoch: int
    result: Any
    text: str
    indexes: Sequence[int]


@dataclass
class Verdict:
    """The errors, by kind; all are zero if the promises hold."""

    not_ended: int = 0
    differs: int = 0
    doubled: int = 0
    incomplete: int = 0
    findings: list[str] = field(default_factory=list)
    runs: int = 0

    @property
    def good(self) -> bool:
        return not (self.not_ended or self.differs or self.doubled or self.incomplete)

    def add(self, kind: str, what: str) -> None:
        setattr(self, kind, getattr(self, kind) + 1)
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(f"{kind}: {what}")

    def expect_runs(self, count: int) -> None:
        """Note if other than so many runs were started."""
        for _ in range(abs(count - self.runs)):
            self.add("doubled" if self.runs > count else "not_ended", "the number of runs")

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def judge(rows: Sequence[Row], clients: Iterable[RunClient], words: int) -> Verdict:
    """
    Return the errors.

    A run has to end, finished with all words or stopped with its first ones, each chunk once.
    Each of its clients has to have the same text, and to know that this is all.
    """
    verdict = Verdict(runs=len(rows))
    whole = text(words)
    for row in rows:
        if row.status not in ("finished", "stopped"):
            verdict.add("not_ended", f"{row.thread} is {row.status}")
        if list(row.indexes) != list(range(len(row.indexes))):
            verdict.add("doubled", f"the indexes of {row.thread} are {row.indexes}")
        is_whole = row.text == whole and row.result == {"words": words}
        if not (is_whole if row.status == "finished" else whole.startswith(row.text)):
            verdict.add("differs", f"the log of {row.thread}, {row.status}, has {row.text!r}")
    of = {row.thread: row for row in rows}
    for client in clients:
        _judge_client(verdict, of.get(client.thread), client)
    return verdict


def _judge_client(verdict: Verdict, row: Row | None, client: RunClient) -> None:
    name = f"{client.format} of {client.thread}"
    for wrong in client.wrong:
        verdict.add("doubled", f"{name} got {wrong}")
    if not client.is_complete:
        verdict.add("incomplete", f"{name} has {len(client.text)} characters, and waits")
    elif row is None or client.text != row.text:
        verdict.add("differs", f"{name} has {client.text!r}")
