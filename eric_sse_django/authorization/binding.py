"""Whose a ticket is that a page was given."""

from __future__ import annotations

from typing import Any


def bound_to(request: Any) -> dict[str, Any]:
    """
    Return make_ticket()'s `user` and `session`, as far as a Django request has them.

    {} for None. A page that asks varies by its cookie, as it should: the ticket is the visitor's.
    """
    user = getattr(request, "user", None)
    known = user is not None and user.is_authenticated
    session_key = getattr(getattr(request, "session", None), "session_key", None)
    found = {"user": user.pk if user is not None and known else None, "session": session_key}
    return {name: value for name, value in found.items() if value is not None}
