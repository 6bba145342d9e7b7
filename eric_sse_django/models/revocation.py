"""Leave that was taken back."""

from __future__ import annotations

import hashlib
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _


class Revocation(models.Model):
    """
    Tickets for a subject (a user, a session, a listener) that were made before count no more.

    Kept until `expires_at`, when the last of them has ended by itself.
    """

    subject = models.CharField(_("subject"), max_length=255, unique=True)
    revoked_at = models.DateTimeField(_("revoked"))
    expires_at = models.DateTimeField(_("expires"), db_index=True)

    class Meta:
        verbose_name = _("revocation")
        verbose_name_plural = _("revocations")

    def __str__(self) -> str:
        return self.subject


def subject_of_user(user: Any) -> str:
    """Return the subject that is a user (an object, or its key)."""
    return f"user:{getattr(user, 'pk', user)}"


def subject_of_session(session_key: str) -> str:
    """Return the subject that is a session; its key cannot be told from it."""
    return f"session:{hashlib.sha256(session_key.encode(errors='replace')).hexdigest()}"


def subject_of_listener(listener: Any) -> str:
    """Return the subject that is a listener (a row, or its key)."""
    return f"listener:{getattr(listener, 'pk', listener)}"


def subjects_of(listener: Any, owner: Any) -> frozenset[str]:
    """Return the subjects whose revocation ends the stream of a listener (by keys, or None)."""
    subjects = set()
    if listener is not None:
        subjects.add(subject_of_listener(listener))
    if owner is not None:
        subjects.add(subject_of_user(owner))
    return frozenset(subjects)
