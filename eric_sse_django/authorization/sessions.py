"""The visitor that a session cookie names, and the subjects that a session is known by."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, get_user
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest

from eric_sse_django.models import (
    subject_of_auth,
    subject_of_login,
    subject_of_session,
    subject_of_user,
)

# Where a session keeps the name of its login. Its key changes with cycle_key(), and with
# signed cookies at each save; its user's hash is that of all the user's sessions.
LOGIN_KEY = "_eric_sse_login"


@dataclass(frozen=True)
class Visitor:
    """
    A user, or AnonymousUser, and the subjects of their session.

    `key` is the user's, None for AnonymousUser: kept here because a user object may be a
    project's own, whose attributes may hang. `session` are the subjects of the session alone;
    `subjects` includes the user's. Made by of().
    """

    user: Any
    key: Any = None
    session: frozenset[str] = frozenset()
    subjects: frozenset[str] = frozenset()

    @classmethod
    def of(cls, user: Any, session: frozenset[str]) -> Visitor:
        """Return the visitor with this user object and these subjects of a session."""
        if not user.is_authenticated:
            return cls(user, None, session, session)
        return cls(user, user.pk, session, session | {subject_of_user(user.pk)})


ANONYMOUS = Visitor(AnonymousUser())


def visitor_of(session_key: str | None) -> Visitor:
    """
    Return the visitor with this session, for requests that pass no middleware. Two queries.

    An active user, whose session hash is checked as Django does for a request; else
    AnonymousUser, with the session if there is one.
    """
    # PostgreSQL raises ValueError for a NUL in a query's parameter.
    if not session_key or not session_key.isprintable():
        return ANONYMOUS
    session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    # get_user() gives a session of an old SECRET_KEY another key, and empties one of an old
    # password. A stream cannot set the new cookie, so that would log the client out everywhere.
    session.cycle_key = session.flush = _nothing
    request = HttpRequest()
    request.session = session
    user = get_user(request)
    if not user.is_authenticated:
        # A session with a user whose password has changed is not an anonymous visitor's.
        exists = session.session_key and not session.is_empty() and SESSION_KEY not in session
        return Visitor.of(user, subjects_of_session(session)) if exists else ANONYMOUS
    return Visitor.of(user, subjects_of_session(session)) if user.is_active else ANONYMOUS


def _nothing() -> None:
    """Replace a method that would change the session."""


def name_login(session: Any) -> None:
    """Give a session with a logged-in user a name for its login, if it has none."""
    if LOGIN_KEY not in session:
        session[LOGIN_KEY] = secrets.token_urlsafe(16)


def subjects_of_session(session: Any) -> frozenset[str]:
    """
    Return the subjects of a session: its key, its login, its user's password.

    For a session key given as a str: the key alone. May query if the session is not loaded.
    """
    found = ending_of_session(session)
    auth_hash = None if isinstance(session, str) else session.get(HASH_SESSION_KEY)
    return found | {subject_of_auth(auth_hash)} if auth_hash else found


def ending_of_session(session: Any) -> frozenset[str]:
    """Return the subjects that end with a session: its key and its login, not the password."""
    if isinstance(session, str):
        return frozenset({subject_of_session(session)})
    found = set()
    if session.session_key:
        found.add(subject_of_session(session.session_key))
    if login := session.get(LOGIN_KEY):
        found.add(subject_of_login(login))
    return frozenset(found)
