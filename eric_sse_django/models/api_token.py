"""Bearer tokens of the HTTP API."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Any

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from eric_sse_django.models.manager import LogManager
from eric_sse_django.models.users import UserKey, with_user

SECRET_PREFIX = "eric_"  # so that scanners for leaked secrets can know one
SECRET_BYTES = 32
# Seconds between two writes of the time of last use: a busy token costs no UPDATE a request.
USE_NOTED_S = 60.0


def digest_of(secret: str) -> str:
    """Return what is stored of a token: 256 random bits need no salt and no slow hash."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


class ApiTokenManager(LogManager["ApiToken"]):
    """Makes tokens, and finds them by their secret."""

    def issue(self, user: Any, name: str, expires_at: datetime | None = None) -> tuple[Any, str]:
        """Return a new token of the user's, and its secret, which nobody can read again."""
        token = ApiToken(user=user, name=name, expires_at=expires_at)
        secret = token.renew_secret()
        token.save(force_insert=True)
        return token, secret

    def of_secret(self, secret: str) -> ApiToken | None:
        """Return the token that is good now, with its user; None for any other. 1 or 2 queries."""
        good = Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now())
        found = self.filter(good, digest=digest_of(secret), active=True)
        token = with_user(found, "user").first()
        # Its user may be gone: then Django raises an AttributeError.
        return None if getattr(token, "user", None) is None else token


class ApiToken(models.Model):
    """Leave to use the HTTP API as its user. Only a digest of the secret is kept."""

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
        """Return a new secret; the old one opens nothing once this object is saved."""
        secret = SECRET_PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        self.digest = digest_of(secret)
        return secret

    def note_use(self) -> None:
        """Write down that it was used, once in USE_NOTED_S seconds."""
        now = timezone.now()
        before = now - timedelta(seconds=USE_NOTED_S)
        if self.last_used_at is None or self.last_used_at < before:
            rows = ApiToken.objects.filter(pk=self.pk)
            rows.filter(Q(last_used_at__isnull=True) | Q(last_used_at__lt=before)).update(
                last_used_at=now
            )
