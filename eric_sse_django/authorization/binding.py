"""Whose a ticket is that a page was given, and whether the page needs one."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY

from eric_sse_django import address
from eric_sse_django.authorization.rules import Authorizer, authorizer
from eric_sse_django.authorization.subjects import name_login
from eric_sse_django.models import Channel, Listener


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


def opens_without_ticket(request: Any, channel: Channel, listener: Listener | None = None) -> bool:
    """
    Whether the page of a request may open a stream by its cookie alone, or anybody may.

    No for rules of the project's own: they may query, and may be coroutines.
    """
    rules = type(authorizer())
    if listener is not None:
        is_default = rules.can_listen is Authorizer.can_listen
        return (
            is_default
            and listener.owner_id is not None
            and _logged_in(request) == listener.owner_id
        )
    if rules.can_watch is not Authorizer.can_watch:
        return False
    if channel.access == str(Channel.Access.EVERYONE):
        return True
    return channel.access == str(Channel.Access.USERS) and _logged_in(request) is not None


def _logged_in(request: Any) -> Any:
    """Return the key of the user whom a stream would find by the request's cookie, else None."""
    user, session = getattr(request, "user", None), getattr(request, "session", None)
    if user is None or session is None or not (user.is_authenticated and user.is_active):
        return None
    reaches = address.root().startswith(settings.SESSION_COOKIE_PATH)
    return user.pk if reaches and SESSION_KEY in session else None
