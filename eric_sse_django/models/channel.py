"""Channels."""

from __future__ import annotations

from decimal import Decimal
from math import isfinite
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from eric_sse_django.conf import MAX_RETENTION_S
from eric_sse_django.models.base import (
    IDENTIFIER_MAX_LENGTH,
    LogColumnsModel,
    LogManager,
    is_identifier,
)


class SecondsField(models.PositiveBigIntegerField):  # type: ignore[type-arg]
    """Whole seconds, MAX_RETENTION_S at most. To migrations it is Django's field."""

    def to_python(self, value: Any) -> int | None:
        """As Django's, which would take 1.5 and True for 1, and fail for infinity."""
        is_cut = isinstance(value, (float, Decimal)) and not (isfinite(value) and value % 1 == 0)
        if is_cut or isinstance(value, (bool, bytes)):
            raise ValidationError(
                self.error_messages["invalid"], code="invalid", params={"value": value}
            )
        seconds: int | None = super().to_python(value)
        if seconds is not None:
            MaxValueValidator(MAX_RETENTION_S)(seconds)
        return seconds

    def deconstruct(self) -> Any:
        name, _, args, options = super().deconstruct()
        return name, "django.db.models.PositiveBigIntegerField", args, options


class Channel(LogColumnsModel):
    """Messages are published to a channel, and it has listeners."""

    LOG_COLUMNS = frozenset({"floor"})

    class Format(models.TextChoices):
        JSON = "json", _("JSON, on one line")
        TEXT = "text", _("text, as it is (for htmx)")

    class Access(models.TextChoices):
        TICKET = "ticket", _("holders of a ticket")
        USERS = "users", _("users who are logged in")
        EVERYONE = "everyone", _("everyone")

    name = models.CharField(
        _("id"), max_length=IDENTIFIER_MAX_LENGTH, unique=True, validators=[is_identifier]
    )
    format = models.CharField(
        _("format"), max_length=4, choices=Format.choices, default=Format.JSON
    )
    access = models.CharField(
        _("who may watch"),
        max_length=8,
        choices=Access.choices,
        default=Access.TICKET,
        help_text=_("Watching shows the broadcasts. A listener's stream is its owner's alone."),
    )
    retention_s = SecondsField(
        _("retention in seconds"),
        null=True,
        blank=True,
        validators=[MinValueValidator(60)],
        help_text=_("How long new messages are kept. Empty: ERIC_SSE['RETENTION_S']."),
    )
    expires_in_s = SecondsField(
        _("lifetime in seconds"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("Seconds after which a message is not delivered any more. Empty: no limit."),
    )
    floor = models.BigIntegerField(
        _("floor"),
        default=0,
        editable=False,
        help_text=_("Highest position of a broadcast that retention has removed."),
    )
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)

    objects = LogManager["Channel"]()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("channel")
        verbose_name_plural = _("channels")
        permissions = [("publish_channel", _("Can publish to channels and their listeners"))]

    def __str__(self) -> str:
        return self.name
