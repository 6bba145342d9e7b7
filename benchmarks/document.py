"""The parts of a Markdown page that a command writes, between two comments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

BEGIN, END = "<!-- figures: {} -->", "<!-- end of figures: {} -->"


class NoPlace(Exception):
    """A page has no place for what is written."""


def fill(text: str, parts: Mapping[str, str]) -> str:
    """Return a page with other parts, by name. Raises NoPlace for a name that it lacks."""
    for name, part in parts.items():
        begin, end = BEGIN.format(name), END.format(name)
        before, found, rest = text.partition(begin)
        _, found_end, after = rest.partition(end)
        if not (found and found_end):
            raise NoPlace(f"the page has no lines {begin!r} and {end!r}: add them")
        text = f"{before}{begin}\n\n{part.strip()}\n\n{end}{after}"
    return text


def write(path: Path, parts: Mapping[str, str]) -> None:
    """Replace these parts of a page's file."""
    path.write_text(fill(path.read_text(), parts))
