"""What publishers said they did: tried, accepted, taken back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass
class Attempt:
    """One transaction: its messages' keys in order, when it began, and when it had committed."""

    publisher: str
    keys: Sequence[str]
    began_at: float
    accepted_at: float | None = None
    refused: str | None = None


class Ledger:
    """
    The attempts of all publishers, as their reports came.

    Accepted is what a publisher reported after its commit had returned. Who was killed
    between commit and report leaves a `maybe`: it may have come, or not.
    """

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self._open: dict[str, Attempt] = {}

    def report(self, publisher: str, line: dict[str, object]) -> None:
        """Note one line of a publisher's: "try", "ok", "no" (rolled back) or "error"."""
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
        """Return the attempts that were taken back on purpose."""
        return [attempt for attempt in self.attempts if attempt.refused == "rolled back"]

    def errors(self) -> list[Attempt]:
        """Return the attempts that ended with an error."""
        return [a for a in self.attempts if a.refused not in (None, "rolled back")]

    def maybe(self) -> list[Attempt]:
        """Return the attempts of which nobody knows."""
        return [a for a in self.attempts if a.accepted_at is None and a.refused is None]
