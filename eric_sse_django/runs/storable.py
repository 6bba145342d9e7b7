"""
What the columns of runs can hold.

PostgreSQL's text and JSON have no NUL, and no half of a surrogate pair, as file names that are
not UTF-8 become. Messages hold them all the same: they are ASCII.
"""

from __future__ import annotations

import re
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

REPLACEMENT = "\ufffd"
# Characters of a text column that others than the project write: those of errors.
MAX_CHARACTERS = 16_384
_REFUSED = re.compile("[\0\ud800-\udfff]")
# An escape in ASCII JSON: a pair, what is refused, or any other one.
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(?P<refused>u0000|u[dD][89a-fA-F]..)|.)"
)


def text(value: str) -> str:
    """Return a text as a column can hold it: what it cannot is replaced, what is long is cut."""
    cut = value if len(value) <= MAX_CHARACTERS else f"{value[: MAX_CHARACTERS - 1]}…"
    return _REFUSED.sub(REPLACEMENT, cut)


def is_text(value: str) -> bool:
    """Return whether a column can hold a text as it is."""
    return _REFUSED.search(value) is None


class Encoder(DjangoJSONEncoder):
    """Encodes what JSON columns can hold: replaces characters as text() does, refuses NaN."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "allow_nan": False})

    def encode(self, o: Any) -> str:
        found: str = super().encode(o)
        if "\\u" not in found:
            return found
        return _ESCAPE.sub(lambda each: r"\ufffd" if each["refused"] else each[0], found)


# One for all: to make one for each call takes longer than to encode.
encode = Encoder().encode
