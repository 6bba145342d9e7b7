"""A payload as a page shows it: stored as ASCII JSON, read as text."""

from __future__ import annotations

import json
import re
from typing import Final

# An escaped backslash, which makes what follows it no escape; or a run of escapes.
_ESCAPES: Final = re.compile(r"\\\\|(?:\\u[0-9a-fA-F]{4})+")
_CUT_ESCAPE: Final = re.compile(r"(?<!\\)(?:\\\\)*(\\(?:u[0-9a-fA-F]{0,3})?)$")
# Characters that one of a payload takes at most where it is stored: "\u00fc".
ESCAPED_LENGTH: Final = 6


def shown(text: str, most: int, is_cut: bool = False) -> tuple[str, bool]:
    """
    Return JSON text, or its beginning, for reading, and whether it is cut.

    At most `most` characters. What no page can hold, or what would not be seen, stays
    escaped: control characters, lone surrogates.
    """
    if is_cut and (broken := _CUT_ESCAPE.search(text)):
        text = text[: broken.start(1)]
    text = _ESCAPES.sub(_decoded, text)
    return text[:most], is_cut or len(text) > most


def stored(text: str) -> str:
    """Return how a text is written within a stored payload: to search for it."""
    return json.dumps(text)[1:-1]


def _decoded(found: re.Match[str]) -> str:
    if found[0] == r"\\":
        return found[0]
    decoded: str = json.loads(f'"{found[0]}"')
    return "".join(
        stored(character) if character < " " or "\ud800" <= character <= "\udfff" else character
        for character in decoded
    )
