"""Access that was revoked, and the subjects that access hangs on."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from eric_sse_django.models.manager import LogManager


class Revocation(models.Model):
    """
    What was given to a subject before is no longer valid.

    A user, a listener and a channel get access anew: tickets made before count by their time.
    A session, a login and a password do not come again: nothing of theirs is valid. Kept until
    `expires_at`, when the last ticket of the subject has expired by itself.
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
    """Return the subject that is a user (an object, or its key)."""
    return f"user:{getattr(user, 'pk', user)}"


def subject_of_session(session_key: str) -> str:
    """Return the subject that is a session by its key, which cannot be told from it."""
    return f"session:{hashlib.sha256(session_key.encode(errors='replace')).hexdigest()}"


def subject_of_login(login: str) -> str:
    """Return the subject that is one login, whatever keys its session gets."""
    return f"login:{login}"


def subject_of_auth(auth_hash: str) -> str:
    """Return the subject that is a password, by a session's hash of it."""
    digest = hashlib.sha256(auth_hash.encode(errors="replace")).digest()
    return f"auth:{base64.urlsafe_b64encode(digest[:18]).decode()}"


def subject_of_listener(listener: Any) -> str:
    """Return the subject that is a listener (a row, or its key)."""
    return f"listener:{getattr(listener, 'pk', listener)}"


def subject_of_channel(channel: Any) -> str:
    """Return the subject that is all streams of a channel (a row, or its key)."""
    return f"channel:{getattr(channel, 'pk', channel)}"


def subject_of_watchers(channel: Any) -> str:
    """Return the subject that is all who watch a channel (a row, or its key)."""
    return f"watchers:{getattr(channel, 'pk', channel)}"


def subjects_of(channel: Any, listener: Any, owner: Any) -> frozenset[str]:
    """
    Return the subjects whose revocation ends the stream of a listener; None: of a watcher.

    All by their keys; `owner` may be None.
    """
    subjects = {subject_of_channel(channel)}
    if listener is None:
        subjects.add(subject_of_watchers(channel))
    else:
        subjects.add(subject_of_listener(listener))
    if owner is not None:
        subjects.add(subject_of_user(owner))
    return frozenset(subjects)
