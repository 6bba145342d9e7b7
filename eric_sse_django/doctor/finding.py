"""What the doctor found."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

# From the best to the worst.
GOOD, NOTE, WARNING, ERROR = LEVELS = ("good", "note", "warning", "error")
# The user and password of a URL, as in the errors of clients.
_CREDENTIALS = re.compile(r"(://)[^/@\s'\"]*@")


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


def shown(text: str) -> str:
    """Return a text without passwords of URLs, and without what would control a terminal."""
    plain = "".join(each if each.isprintable() or each == "\n" else "\ufffd" for each in text)
    return _CREDENTIALS.sub(r"\1…@", plain)


def good(id: str, text: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(id, GOOD, shown(text))


def note(id: str, text: str, next_step: str) -> Finding:
    """Return a finding that harms nothing, but should be known."""
    return Finding(id, NOTE, shown(text), shown(next_step))


def warning(id: str, text: str, next_step: str) -> Finding:
    """Return a finding that delays messages, or fails later."""
    return Finding(id, WARNING, shown(text), shown(next_step))


def error(id: str, text: str, next_step: str) -> Finding:
    """Return a finding that keeps messages from being published or delivered."""
    return Finding(id, ERROR, shown(text), shown(next_step))
