"""The judge compares what was accepted, the log, and what each client received."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.faults.ledger import Ledger
from tests.faults.tally import Tally

# Findings kept as text; further ones are only counted.
MAX_FINDINGS = 20


@dataclass(frozen=True)
class Row:
    """A message of the log: its position, its key, and its listener if it has one."""

    position: int | None
    key: str
    listener: str | None = None
    # Whether it is in the clients' channel; the others are jobs of the workers.
    for_clients: bool = True


def due(rows: Iterable[Row], listener: str | None) -> list[Row]:
    """Return what a client with this listener (None: a watcher) has to get, in order."""
    return [row for row in rows if row.for_clients and row.listener in (None, listener)]


@dataclass
class Verdict:
    """The errors, by kind; all are zero if the promises hold."""

    lost: int = 0
    out_of_order: int = 0
    doubled: int = 0
    unasked: int = 0
    findings: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not (self.lost or self.out_of_order or self.doubled or self.unasked)

    def add(self, kind: str, what: str) -> None:
        setattr(self, kind, getattr(self, kind) + 1)
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(f"{kind}: {what}")

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def judge(ledger: Ledger, rows: Iterable[Row], clients: Mapping[Tally, str | None]) -> Verdict:
    """
    Return the errors. `clients` has the listener of each tally, None for a watcher.

    The log has to contain all accepted messages once, in the order of commit, and none that was
    rolled back. Each client has to get exactly its messages of the log, in order.
    """
    verdict = Verdict()
    ordered = sorted(rows, key=lambda row: row.position or 0)
    for row in ordered:
        if row.position is None:
            verdict.add("lost", f"{row.key} has no position")
    judge_log(verdict, ledger, ordered)
    for tally, listener in clients.items():
        judge_client(verdict, ordered, tally, listener)
    return verdict


def judge_log(verdict: Verdict, ledger: Ledger, rows: Sequence[Row]) -> None:
    """Compare the log with the ledger."""
    held = Counter(row.key for row in rows)
    accepted = {key for attempt in ledger.accepted() for key in attempt.keys}
    jobs = {f"done:{row.key}" for row in rows if not row.for_clients}
    for key in (accepted | jobs) - held.keys():
        verdict.add("lost", f"{key} is missing in the log")
    for key in (key for key, count in held.items() if count > 1):
        verdict.add("doubled", f"{key} is in the log {held[key]} times")
    rolled_back = {key for attempt in ledger.rolled_back() for key in attempt.keys}
    for key in rolled_back & held.keys():
        verdict.add("unasked", f"{key} was rolled back, and is in the log")
    placed = dict.fromkeys(row.key for row in rows if row.position is not None)
    _judge_order(verdict, ledger, list(placed))


def _judge_order(verdict: Verdict, ledger: Ledger, keys: Sequence[str]) -> None:
    place = {key: number for number, key in enumerate(keys)}
    for attempt in ledger.attempts:
        places = [place[key] for key in attempt.keys if key in place]
        if places != sorted(places):
            verdict.add("out_of_order", f"within {attempt.publisher}'s {list(attempt.keys)}")
    # A transaction that committed before another one began has the lower positions.
    of = {key: attempt for attempt in ledger.accepted() for key in attempt.keys}
    latest = None
    for key in keys:
        known = of.get(key)
        if known is None or known.accepted_at is None:
            continue
        if latest is not None and known.accepted_at < latest.began_at:
            verdict.add("out_of_order", f"{key} had committed before {latest.keys[0]} began")
        if latest is None or known.began_at > latest.began_at:
            latest = known


def judge_client(
    verdict: Verdict, rows: Sequence[Row], tally: Tally, listener: str | None
) -> None:
    """Compare what a client got with its messages in the log."""
    for wrong in tally.wrong:
        verdict.add("out_of_order", wrong)
    own = due(rows, listener)
    seen, wanted = set(tally.ids), {row.position for row in own}
    for row in own:
        if row.position not in seen:
            verdict.add("lost", f"{row.position} ({row.key}) did not reach {listener}")
    for id in tally.ids:
        if id not in wanted:
            verdict.add("unasked", f"{id} reached {listener}, and was not addressed to it")
