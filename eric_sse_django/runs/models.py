"""Runs."""

from __future__ import annotations

import hashlib
from typing import Any

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from eric_sse_django.models import IDENTIFIER_MAX_LENGTH, Listener
from eric_sse_django.models.base import LogColumnsModel, LogManager
from eric_sse_django.runs import storable

KIND_MAX_LENGTH = 100
TITLE_MAX_LENGTH = 255


def digest_of(key: str) -> str:
    """Return the stored form of a key: equal in no collation."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()


class RunManager(LogManager["Run"]):
    """Reads runs with their listeners and channels."""

    def get_queryset(self) -> models.QuerySet[Run]:
        return super().get_queryset().select_related("listener__channel")


class Run(LogColumnsModel):
    """
    Work with a producer and output: a listener, and what its producer needs.

    Its key is the listener's. What its producer writes is dispatched to the listener.
    """

    LOG_COLUMNS = frozenset(
        {
            *("status", "epoch", "producer", "lease_until", "next_index", "progress", "result"),
            "upstream",
            *("error", "stop_requested", "started_at", "ended_at", "end_position"),
        }
    )

    class Status(models.TextChoices):
        WAITING = "waiting", _("waiting")
        RUNNING = "running", _("running")
        FINISHED = "finished", _("finished")
        FAILED = "failed", _("failed")
        STOPPED = "stopped", _("stopped")
        LOST = "lost", _("lost")

    owns_listener = True  # it is removed with its run, not with those of users

    listener = models.OneToOneField(
        Listener,
        models.CASCADE,
        primary_key=True,
        related_name="run",
        verbose_name=_("listener"),
    )
    # Also the listener's, whose index begins with the channel.
    name = models.CharField(_("id"), max_length=IDENTIFIER_MAX_LENGTH, unique=True, editable=False)
    kind = models.CharField(_("kind"), max_length=KIND_MAX_LENGTH, blank=True, default="")
    title = models.CharField(_("title"), max_length=TITLE_MAX_LENGTH, blank=True, default="")
    thread = models.CharField(
        _("thread"),
        max_length=TITLE_MAX_LENGTH,
        blank=True,
        default="",
        help_text=_("What several runs belong to: a chat, a document."),
    )
    meta = models.JSONField(_("meta"), default=dict, blank=True, encoder=storable.Encoder)
    key = models.CharField(  # noqa: DJ001 - null: no key was given
        _("key"), max_length=64, null=True, unique=True, editable=False
    )
    status = models.CharField(
        _("status"), max_length=8, choices=Status.choices, default=Status.WAITING, editable=False
    )
    epoch = models.BigIntegerField(
        _("epoch"),
        default=0,
        editable=False,
        help_text=_("How many producers it has had: only the last one may write."),
    )
    producer = models.CharField(
        _("producer"), max_length=255, blank=True, default="", editable=False
    )
    # Milliseconds since 1970 by the database's clock: the one that all processes share.
    lease_until = models.BigIntegerField(default=0, editable=False)
    next_index = models.BigIntegerField(
        _("chunks"), default=0, editable=False, help_text=_("The index of the next chunk.")
    )
    progress = models.JSONField(_("progress"), null=True, blank=True, editable=False)
    upstream = models.JSONField(
        null=True,
        editable=False,
        help_text="The provider's id of the work, and the number of its last event.",
    )
    result = models.JSONField(
        _("result"), null=True, blank=True, editable=False, encoder=storable.Encoder
    )
    error = models.TextField(_("error"), blank=True, default="", editable=False)
    stop_requested = models.BooleanField(_("stop requested"), default=False, editable=False)
    task = models.JSONField(
        null=True,
        editable=False,
        encoder=storable.Encoder,
        help_text="The task that produces it: its name, arguments, and how often it is repeated.",
    )
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    started_at = models.DateTimeField(_("started"), null=True, editable=False)
    ended_at = models.DateTimeField(_("ended"), null=True, editable=False)
    end_position = models.BigIntegerField(
        null=True,
        editable=False,
        help_text="Of its end message, when its output was made compact: a client at it has all.",
    )

    objects = RunManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("run")
        verbose_name_plural = _("runs")
        permissions = [("operate_run", _("Can stop runs, and take them over"))]
        indexes = [
            # reap(): the running ones. Without the lease, which each flush changes: PostgreSQL
            # then writes no index.
            models.Index(fields=["status"], name="eric_run_status"),
            # compact(): ended ones that are not compact, oldest first.
            models.Index(fields=["end_position", "ended_at"], name="eric_run_ended"),
            # of_thread(): the runs of a chat, newest last.
            models.Index(fields=["thread", "created_at"], name="eric_run_thread"),
        ]

    def __str__(self) -> str:
        return self.title or self.name

    @property
    def id(self) -> str:
        """Its id in URLs, and its listener's."""
        return self.name

    @property
    def owner_id(self) -> Any:
        """The key of the user that it belongs to, None for nobody."""
        return self.listener.owner_id

    @property
    def is_active(self) -> bool:
        """Whether it waits for its producer or has one, as it was read."""
        return self.status in ACTIVE

    @property
    def is_repeated(self) -> bool:
        """Whether its task is enqueued again, if its producer is gone."""
        return self.task is not None and self.epoch <= self.task["retries"]

    @property
    def has_ended(self) -> bool:
        """Whether nothing can be written to it any more, as it was read."""
        return self.status in FINAL


ACTIVE = (Run.Status.WAITING.value, Run.Status.RUNNING.value)
FINAL = (Run.Status.FINISHED.value, Run.Status.FAILED.value, Run.Status.STOPPED.value)
