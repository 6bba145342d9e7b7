"""Revoked access, and the subjects whose access can be revoked."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from eric_sse_django.models.base import LogManager


class Revocation(models.Model):
    """
    Access that a subject got before `revoked_at` is no longer valid.

    A user, a listener or a channel can get access again: later tickets are valid. A session, a
    login or a password cannot: no ticket is valid. Kept until `expires_at`, when the last ticket
    of the subject has expired.
    """

    subject = models.CharField(_("subject"), max_length=255, unique=True)
    revoked_at = models.DateTimeField(_("revoked"))
    expires_at = models.DateTimeField(_("expires"), db_index=True)

    objects = LogManager["Revocation"]()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("revocation")
        verbose_name_plural = _("revocations")

    def __str__(self) -> str:
        return self.subject


def subject_of_user(user: Any) -> str:
    """Return the subject of a user (an object, or its key)."""
    return f"user:{getattr(user, 'pk', user)}"


def subject_of_session(session_key: str) -> str:
    """Return the subject of a session by its key, as a digest."""
    return f"session:{hashlib.sha256(session_key.encode(errors='replace')).hexdigest()}"


def subject_of_login(login: str) -> str:
    """Return the subject of one login: it stays when the session's key changes."""
    return f"login:{login}"


def subject_of_auth(auth_hash: str) -> str:
    """Return the subject of a password, by the hash of it in a session."""
    digest = hashlib.sha256(auth_hash.encode(errors="replace")).digest()
    return f"auth:{base64.urlsafe_b64encode(digest[:18]).decode()}"


def subject_of_listener(listener: Any) -> str:
    """Return the subject of a listener (a row, or its key)."""
    return f"listener:{getattr(listener, 'pk', listener)}"


def subject_of_channel(channel: Any) -> str:
    """Return the subject of all streams of a channel (a row, or its key)."""
    return f"channel:{getattr(channel, 'pk', channel)}"


def subject_of_watchers(channel: Any) -> str:
    """Return the subject of all watchers of a channel (a row, or its key)."""
    return f"watchers:{getattr(channel, 'pk', channel)}"


def subjects_of(channel: Any, listener: Any, owner: Any) -> frozenset[str]:
    """
    Return the subjects whose revocation ends a listener's stream; without one, a watcher's.

    All arguments are keys; `owner` may be None.
    """
    subjects = {subject_of_channel(channel)}
    if listener is None:
        subjects.add(subject_of_watchers(channel))
    else:
        subjects.add(subject_of_listener(listener))
    if owner is not None:
        subjects.add(subject_of_user(owner))
    return frozenset(subjects)
