"""Endpoints, to which the messages of listeners are posted, and the messages that they refused."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from eric_sse_django.contrib.webhooks.addresses import MAX_URL_CHARACTERS, Refused, target_of
from eric_sse_django.contrib.webhooks.signing import new_secret
from eric_sse_django.models import TYPE_MAX_LENGTH, Listener
from eric_sse_django.models.base import LogManager

ERROR_MAX_LENGTH = 255


def check_url(url: str) -> None:
    """Raise ValidationError for a URL that is not posted to."""
    try:
        target_of(url)
    except Refused as refused:
        raise ValidationError(str(refused)) from None


def check_types(types: Any) -> None:
    """Raise ValidationError for a value that is not a list of types."""
    if not (isinstance(types, list) and all(isinstance(each, str) for each in types)):
        raise ValidationError(_('Give a list of types, such as ["paid"]; [] for all.'))


class Endpoint(models.Model):
    """
    A URL to which the messages of a listener are posted, in their order.

    What it was sent is the listener's cursor, as for streams: its queue, replays, stopping and
    starting are the listener's. `lease` names the worker that serves it now.
    """

    owns_listener = True  # it is removed with its endpoint, not with those of users

    listener = models.OneToOneField(
        Listener, models.CASCADE, related_name="webhook", verbose_name=_("listener")
    )
    url = models.CharField(_("URL"), max_length=MAX_URL_CHARACTERS, validators=[check_url])
    types = models.JSONField(
        _("types"),
        default=list,
        blank=True,
        validators=[check_types],
        help_text=_("Only messages of these types are posted; [] for all."),
    )
    secret = models.CharField(_("secret"), max_length=128, default=new_secret, editable=False)
    previous_secret = models.CharField(
        _("previous secret"), max_length=128, blank=True, editable=False
    )
    attempts = models.PositiveIntegerField(_("attempts"), default=0, editable=False)
    attempted = models.BigIntegerField(default=0, editable=False)  # the position that they are for
    next_attempt_at = models.DateTimeField(_("next attempt"), null=True, editable=False)
    last_status = models.PositiveIntegerField(_("last status"), null=True, editable=False)
    last_error = models.CharField(
        _("last error"), max_length=ERROR_MAX_LENGTH, blank=True, editable=False
    )
    accepted_at = models.DateTimeField(_("last accepted"), null=True, editable=False)
    # Up to this position of the log there is nothing for it that its cursor does not show.
    checked = models.BigIntegerField(default=0, editable=False)
    lease = models.CharField(max_length=128, blank=True, editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)

    objects = LogManager["Endpoint"]()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("endpoint")
        verbose_name_plural = _("endpoints")

    def __str__(self) -> str:
        return self.url

    def renew_secret(self) -> str:
        """
        Give it a new secret, and return that; save() it then.

        Requests are signed with the previous one too, until it is renewed again or emptied: the
        receiver may change to the new one at any time.
        """
        self.previous_secret, self.secret = self.secret, new_secret()
        return self.secret


class DeadLetter(models.Model):
    """A message that an endpoint did not accept in all its attempts."""

    endpoint = models.ForeignKey(
        Endpoint, models.CASCADE, related_name="dead_letters", verbose_name=_("endpoint")
    )
    position = models.BigIntegerField(_("position"))
    type = models.CharField(_("type"), max_length=TYPE_MAX_LENGTH)
    body = models.TextField(_("body"))
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    last_status = models.PositiveIntegerField(_("last status"), null=True)
    last_error = models.CharField(_("last error"), max_length=ERROR_MAX_LENGTH, blank=True)
    failed_at = models.DateTimeField(_("failed at"), default=timezone.now)
    again_at = models.DateTimeField(_("sent again from"), null=True, db_index=True)

    objects = LogManager["DeadLetter"]()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("dead letter")
        verbose_name_plural = _("dead letters")
        constraints = [
            models.UniqueConstraint(fields=["endpoint", "position"], name="eric_dead_letter"),
        ]

    def __str__(self) -> str:
        return _("%(type)s at %(position)s") % {"type": self.type, "position": self.position}
