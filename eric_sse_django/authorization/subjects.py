"""What a session is known by."""

from __future__ import annotations

import secrets
from typing import Any

from django.contrib.auth import HASH_SESSION_KEY

from eric_sse_django.models import subject_of_auth, subject_of_login, subject_of_session

# Where a session keeps the name of its login. Its key changes with cycle_key(), and with
# signed cookies at each save; its user's hash is that of all the user's sessions.
LOGIN_KEY = "_eric_sse_login"


def name_login(session: Any) -> None:
    """Give a session in which a user is logged in a name for that, where it has none."""
    if LOGIN_KEY not in session:
        session[LOGIN_KEY] = secrets.token_urlsafe(16)


def subjects_of_session(session: Any) -> frozenset[str]:
    """
    Return what a session is known by: its key, its login, its user's password.

    Of a key alone it is the key. May query where the session has not been read.
    """
    if isinstance(session, str):
        return frozenset({subject_of_session(session)})
    found = ending_of_session(session)
    auth_hash = session.get(HASH_SESSION_KEY)
    return found | {subject_of_auth(auth_hash)} if auth_hash else found


def ending_of_session(session: Any) -> frozenset[str]:
    """Return what ends with a session: its key and its login, not its user's password."""
    if isinstance(session, str):
        return frozenset({subject_of_session(session)})
    found = set()
    if session.session_key:
        found.add(subject_of_session(session.session_key))
    if login := session.get(LOGIN_KEY):
        found.add(subject_of_login(login))
    return frozenset(found)
