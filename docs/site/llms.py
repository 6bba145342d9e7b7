"""`llms.txt`: a list of all pages for programs, and each page as Markdown beside its HTML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.pages import Page

TITLE = "eric_sse_django"
# Characters of a page's description: its first sentences.
MAX_CHARACTERS = 220
# Of MkDocs' build: (title, Markdown) of each page by its path in docs/.
_kept: dict[str, tuple[str, str]] = {}


def keep(page: Page, markdown: str) -> None:
    """Remember a page of the build that runs."""
    found = re.search(r"^# (.+)$", markdown, re.MULTILINE)
    title = found[1] if found else page.file.name
    _kept[page.file.src_uri] = (str(page.title or title), markdown)


def write(site: Path, url: str, nav: list[Any]) -> None:
    """Write llms.txt and the Markdown files into the built site; forget the pages."""
    lines = [f"# {TITLE}", "", f"> {_description(_kept['index.md'][1])}"]
    for section, paths in _sections(nav):
        lines += ["", f"## {section}", ""]
        lines += [_line(path, url) for path in paths if path in _kept]
    (site / "llms.txt").write_text("\n".join(lines) + "\n")
    for path, (_, markdown) in _kept.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(markdown)
    _kept.clear()


def _line(path: str, url: str) -> str:
    title, markdown = _kept[path]
    about = _description(markdown)
    return f"- [{title}]({url}{path})" + (f": {about}" if about else "")


def _description(markdown: str) -> str:
    """Return the first paragraph that is text, without links."""
    for paragraph in re.split(r"\n\s*\n", re.sub(r"```.*?```", "", markdown, flags=re.DOTALL)):
        text = " ".join(paragraph.split())
        if text and text[0] not in "#|!-:<>*`" and not paragraph.startswith("    "):
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
            return (
                text
                if len(text) <= MAX_CHARACTERS
                else text[:MAX_CHARACTERS].rsplit(" ", 1)[0] + " …"
            )
    return ""


def _sections(nav: list[Any]) -> Iterator[tuple[str, list[str]]]:
    """Yield each section of the navigation with the paths of its pages."""
    alone = [path for entry in nav for path in _paths(entry) if not _is_section(entry)]
    yield "Start", alone
    for entry in nav:
        if _is_section(entry):
            yield next(iter(entry)), list(_paths(entry))


def _is_section(entry: Any) -> bool:
    return isinstance(entry, dict) and any(isinstance(each, list) for each in entry.values())


def _paths(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    elif isinstance(entry, list):
        for each in entry:
            yield from _paths(each)
    elif isinstance(entry, dict):
        for each in entry.values():
            yield from _paths(each)
