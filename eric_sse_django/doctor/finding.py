"""What the doctor found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

# From the best to the worst.
GOOD, NOTE, WARNING, ERROR = LEVELS = ("good", "note", "warning", "error")


@dataclass(frozen=True)
class Finding:
    """
    One finding: its id, such as "stream.buffered", its level, a text, and what to do next.

    The id's first word is the part that was examined. Only a good one has no next step.
    """

    id: str
    level: str
    text: str
    next_step: str = ""

    @property
    def part(self) -> str:
        return self.id.partition(".")[0]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def good(id: str, text: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(id, GOOD, text)


def note(id: str, text: str, next_step: str) -> Finding:
    """Return a finding that harms nothing, but should be known."""
    return Finding(id, NOTE, text, next_step)


def warning(id: str, text: str, next_step: str) -> Finding:
    """Return a finding that delays messages, or fails later."""
    return Finding(id, WARNING, text, next_step)


def error(id: str, text: str, next_step: str) -> Finding:
    """Return a finding that keeps messages from being published or delivered."""
    return Finding(id, ERROR, text, next_step)
