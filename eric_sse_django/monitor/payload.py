"""Payloads are stored as ASCII JSON, and shown as readable text."""

from __future__ import annotations

import json
import re
from typing import Final

# An escaped backslash (what follows it is not an escape), or a run of escapes.
_ESCAPES: Final = re.compile(r"\\\\|(?:\\u[0-9a-fA-F]{4})+")
_CUT_ESCAPE: Final = re.compile(r"(?<!\\)(?:\\\\)*(\\(?:u[0-9a-fA-F]{0,3})?)$")
# Characters that one character of a payload takes at most when stored: "\u00fc".
ESCAPED_LENGTH: Final = 6


def shown(text: str, most: int, is_cut: bool = False) -> tuple[str, bool]:
    """
    Return at most `most` characters of JSON text in readable form, and whether it is cut.

    Control characters and lone surrogates stay escaped: a page cannot hold or show them.
    """
    if is_cut and (broken := _CUT_ESCAPE.search(text)):
        text = text[: broken.start(1)]
    text = _ESCAPES.sub(_decoded, text)
    return text[:most], is_cut or len(text) > most


def stored(text: str) -> str:
    """Return a text as it is written within a stored payload, to search for it."""
    return json.dumps(text)[1:-1]


def _decoded(found: re.Match[str]) -> str:
    if found[0] == r"\\":
        return found[0]
    decoded: str = json.loads(f'"{found[0]}"')
    return "".join(
        stored(character) if character < " " or "\ud800" <= character <= "\udfff" else character
        for character in decoded
    )
