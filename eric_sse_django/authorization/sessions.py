"""The user of a Django session, for requests that pass no middleware."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest


def may_monitor(cookies: dict[str, str]) -> bool:
    """
    Whether a session cookie names staff with the permission to watch the live monitor.

    Two queries, and two more for who is no superuser: nothing is remembered between calls.
    """
    user = session_user(cookies)
    return bool(user and user.is_staff and user.has_perm("eric_sse_django.view_monitor"))


def session_user(cookies: dict[str, str]) -> Any:
    """
    Return the active user whom a session cookie names, None for nobody.

    Two queries; the session's hash is checked as Django does for a request.
    """
    session_key = cookies.get(settings.SESSION_COOKIE_NAME)
    # PostgreSQL raises ValueError for a NUL in a query's parameter.
    if not session_key or not session_key.isprintable():
        return None
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user = get_user(request)
    return user if user.is_authenticated and user.is_active else None
