"""The visitor whom a Django session is of, for requests that pass no middleware."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY, get_user
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest

from eric_sse_django.authorization.revocation import any_remembered
from eric_sse_django.authorization.subjects import subjects_of_session
from eric_sse_django.models import subject_of_user


@dataclass(frozen=True)
class Visitor:
    """
    A user, AnonymousUser for nobody, and what their session is known by.

    `key` is the user's, None for nobody: a user object may be a project's own, whose
    attributes may hang. `session` are the subjects of the session alone; `subjects` also the
    user's.
    """

    user: Any
    key: Any = None
    session: frozenset[str] = frozenset()

    @classmethod
    def of(cls, user: Any, session: frozenset[str]) -> Visitor:
        """Return the visitor that a user object and the subjects of a session make."""
        return cls(user, user.pk if user.is_authenticated else None, session)

    @property
    def subjects(self) -> frozenset[str]:
        return self.session if self.key is None else self.session | {subject_of_user(self.key)}


NOBODY = Visitor(AnonymousUser())


def visitor_of(cookies: dict[str, str]) -> Visitor:
    """
    Return who asks, by the session that a cookie names. Two queries.

    An active user, whose session's hash is checked as Django does for a request; else
    AnonymousUser, with the session if there is one.
    """
    session_key = cookies.get(settings.SESSION_COOKIE_NAME)
    # PostgreSQL raises ValueError for a NUL in a query's parameter.
    if not session_key or not session_key.isprintable():
        return NOBODY
    session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    # get_user() gives a session of an old SECRET_KEY another key, and empties one of an old
    # password. The client would not get to know: it would be logged out everywhere.
    session.cycle_key = session.flush = _nothing
    request = HttpRequest()
    request.session = session
    user = get_user(request)
    if not user.is_authenticated:
        # One of an old password is of nobody: it was somebody's.
        is_there = session.session_key and not session.is_empty() and SESSION_KEY not in session
        return Visitor.of(user, subjects_of_session(session)) if is_there else NOBODY
    return Visitor.of(user, subjects_of_session(session)) if user.is_active else NOBODY


def monitor_visitor(cookies: dict[str, str]) -> Visitor | None:
    """
    Return the member of the staff whom a session cookie names, and who may watch the monitor.

    None for anybody else. Three queries, and two more for one who is no superuser: nothing is
    remembered between calls.
    """
    visitor = visitor_of(cookies)
    may = visitor.user.is_staff and visitor.user.has_perm("eric_sse_django.view_monitor")
    return visitor if may and not any_remembered(visitor.session) else None


def _nothing() -> None:
    """Stand for what would change the session."""
