"""The source of a page, as it is shown beside it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

HERE = Path(__file__).parent
PLACES = {"py": HERE, "html": HERE / "templates" / "pages", "js": HERE / "static" / "pages"}
_WORDS = (
    "and|as|async|await|class|const|def|else|export|for|from|function|if|import|in|let|new|not|"
    "of|or|return|with"
)
_TOKENS = re.compile(
    r'(?P<remark>"""[\s\S]*?"""|(?<!\S)(?:#|//) [^\n]*)'
    r'|(?P<string>"[^"\n]*"|\'[^\'\n]*\'|`[^`]*`)'
    r"|(?P<tag>\{%[\s\S]*?%\}|\{\{[\s\S]*?\}\})"
    rf"|(?P<word>\b(?:{_WORDS})\b)"
)


class Source(NamedTuple):
    name: str
    code: SafeString


def shown(request: HttpRequest, name: str, files: list[str], **context: Any) -> HttpResponse:
    """Render the page of an idea, with these files beside it."""
    context |= {"idea": name, "sources": [source(each) for each in files]}
    return render(request, f"pages/{name}.html", context)


@cache
def source(name: str) -> Source:
    """Return a file of this folder with marks for its remarks, texts, tags and words."""
    text = (PLACES[name.rpartition(".")[2]] / name).read_text().strip()
    parts, at = [], 0
    for found in _TOKENS.finditer(text):
        parts.append(escape(text[at : found.start()]))
        parts.append(format_html('<i class="{}">{}</i>', found.lastgroup, found[0]))
        at = found.end()
    return Source(name, mark_safe("".join([*parts, escape(text[at:])])))
