"""The ids that a channel or listener may have."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.utils.translation import gettext_lazy as _

# An id is one segment of a URL's path, without escapes: so no "/", and not "." or "..", which
# browsers resolve.
IDENTIFIER = r"^(?!\.{1,2}$)[A-Za-z0-9_.:@~+-]{1,128}\Z"
IDENTIFIER_WORDS = _(
    "Use 1 to 128 of the characters A-Z a-z 0-9 _ . : @ ~ + - (and not just one or two dots)."
)
IDENTIFIER_MAX_LENGTH = 128

is_identifier = RegexValidator(IDENTIFIER, IDENTIFIER_WORDS)


def could_be_id(identifier: Any) -> bool:
    """Whether a channel or listener may have that id. PostgreSQL refuses queries with a NUL."""
    try:
        is_identifier(identifier)
    except ValidationError:
        return False
    return isinstance(identifier, str)
