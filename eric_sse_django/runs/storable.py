"""
Values that every database can store in a run's row.

PostgreSQL stores no NUL, and no lone surrogate. A flush that has one would fail each time, and
with it the output of all runs of the process. Clients get what was written: messages are ASCII.
"""

from __future__ import annotations

import json
from typing import Any

REPLACEMENT = "\ufffd"


def storable_text(text: str) -> str:
    """Return a text with U+FFFD instead of each NUL and each lone surrogate."""
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return whole.replace("\0", REPLACEMENT)


def storable_json(text: str) -> str:
    """Return a JSON text, of ASCII, with its strings as storable_text() returns them."""
    if "\\u0000" not in text and "\\ud" not in text:
        return text
    return json.dumps(_storable(json.loads(text)))


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, list):
        return [_storable(each) for each in value]
    if isinstance(value, dict):
        return {storable_text(key): _storable(each) for key, each in value.items()}
    return value
