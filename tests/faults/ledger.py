"""What publishers reported: tried, accepted, rolled back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass
class Attempt:
    """One transaction: the keys of its messages in order, when it began, when it committed."""

    publisher: str
    keys: Sequence[str]
    began_at: float
    accepted_at: float | None = None
    refused: str | None = None


class Ledger:
    """
    The attempts of all publishers, in the order of their reports.

    Accepted is what a publisher reported after its commit had returned. A publisher that was
    killed between commit and report leaves a `maybe`: it may have committed, or not.
    """

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self._open: dict[str, Attempt] = {}

    def report(self, publisher: str, line: dict[str, object]) -> None:
        """Record a publisher's line: "try", "ok", "no" (rolled back) or "error"."""
        what, at = str(line["do"]), float(str(line["at"]))
        if what == "try":
            keys = [str(key) for key in line["keys"]]  # type: ignore[attr-defined]
            self._open[publisher] = Attempt(publisher, keys, at)
            self.attempts.append(self._open[publisher])
            return
        attempt = self._open.pop(publisher)
        if what == "ok":
            attempt.accepted_at = at
        elif what == "no":
            attempt.refused = "rolled back"
        else:
            attempt.refused = str(line["error"])

    def accepted(self) -> list[Attempt]:
        """Return the attempts whose commit returned."""
        return [attempt for attempt in self.attempts if attempt.accepted_at is not None]

    def rolled_back(self) -> list[Attempt]:
        """Return the attempts that were rolled back on purpose."""
        return [attempt for attempt in self.attempts if attempt.refused == "rolled back"]

    def errors(self) -> list[Attempt]:
        """Return the attempts that ended with an error."""
        return [a for a in self.attempts if a.refused not in (None, "rolled back")]

    def maybe(self) -> list[Attempt]:
        """Return the attempts with an unknown outcome."""
        return [a for a in self.attempts if a.accepted_at is None and a.refused is None]
