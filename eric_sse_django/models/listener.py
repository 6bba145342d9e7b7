"""Listeners."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from eric_sse_django.models.base import (
    IDENTIFIER_MAX_LENGTH,
    LogColumnsModel,
    LogKey,
    LogManager,
    is_identifier,
)
from eric_sse_django.models.channel import Channel
from eric_sse_django.models.log import LogHead
from eric_sse_django.models.users import UserKey


class Listener(LogColumnsModel):
    """One durable subscriber of a channel: a user's device, a worker."""

    LOG_COLUMNS = frozenset({"start", "cursor", "floor", "last_seen", "replays"})

    class Acknowledgement(models.TextChoices):
        SENT = "sent", _("when it was sent")
        CLIENT = "client", _("when the client acknowledges it")

    channel = LogKey(
        Channel,
        models.CASCADE,
        related_name="listeners",
        verbose_name=_("channel"),
        db_index=False,  # the unique constraint below begins with it
    )
    name = models.CharField(_("id"), max_length=IDENTIFIER_MAX_LENGTH, validators=[is_identifier])
    owner = UserKey(null=True, blank=True, verbose_name=_("owner"))
    running = models.BooleanField(_("running"), default=False)
    acknowledgement = models.CharField(
        _("served"),
        max_length=6,
        choices=Acknowledgement.choices,
        default=Acknowledgement.SENT,
        db_default=Acknowledgement.SENT,  # servers of the previous version write rows too
        help_text=_(
            "When a message counts as served. Until then it is sent again, with the same id."
        ),
    )
    start = models.BigIntegerField(
        _("start"),
        default=0,
        editable=False,
        help_text=_("Head of the log when it was added: earlier messages are not its own."),
    )
    cursor = models.BigIntegerField(
        _("cursor"),
        default=0,
        editable=False,
        help_text=_("Position up to which it has been served."),
    )
    floor = models.BigIntegerField(
        _("floor"),
        default=0,
        editable=False,
        help_text=_("Highest position of a message of its own that retention has removed."),
    )
    # How often an operator moved the cursor back: positions that streams reached before that
    # are no longer valid.
    replays = models.BigIntegerField(default=0, db_default=0, editable=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    last_seen = models.DateTimeField(_("last seen"), null=True, editable=False)

    objects = LogManager["Listener"]()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("listener")
        verbose_name_plural = _("listeners")
        constraints = [
            # A listener by the two ids of its URL, and all listeners of a channel.
            models.UniqueConstraint(fields=["channel", "name"], name="eric_listener_name"),
        ]
        permissions = [
            ("operate_listener", _("Can start, stop, disconnect, skip and replay listeners")),
            ("sign_listener", _("Can make signed stream URLs of listeners")),
        ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Django passes `args` for rows that it reads.
        if not args and kwargs.keys().isdisjoint({"start", "cursor"}):
            self._begins_at_head = True

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """As Model.save(); a new row without a position begins at the log's head, by a query."""
        is_unplaced = self.__dict__.pop("_begins_at_head", False)
        if is_unplaced and self._state.adding and self.start == self.cursor == 0:
            heads = LogHead.objects.filter(pk=LogHead.THE_ONE)
            self.start = self.cursor = heads.values_list("position", flat=True).first() or 0
        super().save(*args, **kwargs)

    @property
    def is_online(self) -> bool:
        """Whether it has an open stream now. One query each time."""
        return self.open_streams.online().exists()


def of_programs() -> models.Q:
    """
    Return which listeners exist for a row of another app, such as a run or a webhook's endpoint.

    No person's device has them. The model of such rows has `owns_listener = True`.
    """
    found = models.Q(pk__in=())
    for relation in Listener._meta.related_objects:
        if getattr(relation.related_model, "owns_listener", False):
            found |= models.Q(**{f"{relation.name}__isnull": False})
    return found
