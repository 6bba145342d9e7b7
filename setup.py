"""
What setup.cfg cannot express: the README as a package index shows it, away from its files.

A link to a file becomes one to `Source`, if `project_urls` in setup.cfg names that
(`Source = https://…`); else its text stays, and pictures go.
"""

import re
from configparser import ConfigParser
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:)([^)]+)\)")


def source() -> str:
    """Return the URL of the files, "" where setup.cfg has none."""
    config = ConfigParser()
    config.read(HERE / "setup.cfg", encoding="utf-8")
    urls = config.get("metadata", "project_urls", fallback="")
    found = re.search(r"^Source *= *(\S+)$", urls, re.MULTILINE)
    return found[1].rstrip("/") if found else ""


def away(readme: str, source: str) -> str:
    """Return the README's text with no link that leads nowhere."""

    def link(found: "re.Match[str]") -> str:
        picture, text, path = found.groups()
        if source:
            return f"{picture}[{text}]({source}/{'raw' if picture else 'blob'}/main/{path})"
        return "" if picture else text

    return LINK.sub(link, readme)


setup(
    long_description=away((HERE / "README.md").read_text(encoding="utf-8"), source()),
    long_description_content_type="text/markdown",
)
