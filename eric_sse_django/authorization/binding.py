"""Whose a ticket is that a page was given."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import SESSION_KEY

from eric_sse_django.authorization.subjects import name_login


def bound_to(request: Any) -> dict[str, Any]:
    """
    Return make_ticket()'s `user` and `session`, as far as a Django request has them.

    {} for None. A page that asks varies by its cookie, as it should: the ticket is the visitor's.
    """
    user, session = getattr(request, "user", None), getattr(request, "session", None)
    found: dict[str, Any] = {}
    if user is not None and user.is_authenticated:
        found["user"] = user.pk
        if session is not None and SESSION_KEY in session:
            name_login(session)  # one of before the app was there, or made by hand
            found["session"] = session
    if session is not None and session.session_key:
        found["session"] = session
    return found
