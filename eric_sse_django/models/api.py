"""The HTTP API: bearer tokens, and receipts of requests that can be repeated."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Any

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from eric_sse_django.models.base import LogManager
from eric_sse_django.models.users import UserKey, with_user

SECRET_PREFIX = "eric_"  # scanners for leaked secrets recognise it
SECRET_BYTES = 32
# Seconds between two writes of the time of last use: not one UPDATE for each request.
USE_NOTED_S = 60.0


def digest_of(secret: str) -> str:
    """Return the stored form of a token: 256 random bits need no salt and no slow hash."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


class ApiTokenManager(LogManager["ApiToken"]):
    """Creates tokens, and finds them by their secret."""

    def issue(self, user: Any, name: str, expires_at: datetime | None = None) -> tuple[Any, str]:
        """Return a new token of a user, and its secret, which is not stored."""
        token = ApiToken(user=user, name=name, expires_at=expires_at)
        secret = token.renew_secret()
        token.save(force_insert=True)
        return token, secret

    def of_secret(self, secret: str) -> ApiToken | None:
        """Return the valid token, with its user; None if there is none. One or two queries."""
        good = Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now())
        found = self.filter(good, digest=digest_of(secret), active=True)
        token = with_user(found, "user").first()
        # If its user was deleted, Django raises an AttributeError.
        return None if getattr(token, "user", None) is None else token


class ApiToken(models.Model):
    """Access to the HTTP API as its user. Only a digest of the secret is stored."""

    user = UserKey(verbose_name=_("user"))
    name = models.CharField(_("name"), max_length=100, help_text=_("What the token is for."))
    digest = models.CharField(_("digest"), max_length=64, unique=True, editable=False)
    active = models.BooleanField(_("active"), default=True)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    expires_at = models.DateTimeField(
        _("expires"), null=True, blank=True, help_text=_("Empty: never.")
    )
    last_used_at = models.DateTimeField(_("last used"), null=True, editable=False)

    objects = ApiTokenManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("API token")
        verbose_name_plural = _("API tokens")

    def __str__(self) -> str:
        return self.name

    def renew_secret(self) -> str:
        """Return a new secret; the old one is no longer valid once this object is saved."""
        secret = SECRET_PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        self.digest = digest_of(secret)
        return secret

    def note_use(self) -> None:
        """Record that it was used, at most once in USE_NOTED_S seconds."""
        now = timezone.now()
        before = now - timedelta(seconds=USE_NOTED_S)
        if self.last_used_at is None or self.last_used_at < before:
            rows = ApiToken.objects.filter(pk=self.pk)
            rows.filter(Q(last_used_at__isnull=True) | Q(last_used_at__lt=before)).update(
                last_used_at=now
            )


class PublishReceipt(models.Model):
    """
    A user's Idempotency-Key: inserted in the transaction of the messages that it is for.

    Keys are stored as digests, which are equal in no collation. The user's key has no
    constraint in the database: MariaDB would lock the user's row.
    """

    user = UserKey(db_index=False)  # the unique constraint below begins with it
    key = models.CharField(max_length=64)
    request = models.CharField(max_length=64, help_text="Digest of method, path and body.")
    answer = models.TextField(help_text="JSON text.")
    created_at = models.DateTimeField(default=timezone.now)

    objects = LogManager["PublishReceipt"]()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("publish receipt")
        verbose_name_plural = _("publish receipts")
        default_permissions = ()
        constraints = [
            # Of two simultaneous requests with one key, the second waits here.
            models.UniqueConstraint(fields=["user", "key"], name="eric_receipt_key"),
        ]
        indexes = [
            # trim(): expired receipts, oldest first.
            models.Index(fields=["created_at"], name="eric_receipt_age"),
        ]

    def __str__(self) -> str:
        return self.key
