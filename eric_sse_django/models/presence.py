"""Server processes with their open streams, and the live monitor, which shows them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from eric_sse_django.models.base import LogQuerySet
from eric_sse_django.models.channel import Channel
from eric_sse_django.models.listener import Listener
from eric_sse_django.models.users import UserKey
from eric_sse_django.signals import GRACE_S

# Seconds for which a process and its streams count as alive after a renewal.
LEASE_S = 45.0


def _last_renewal() -> datetime:
    """Return since when a process that is alive has renewed its lease."""
    return timezone.now() - timedelta(seconds=LEASE_S)


class ProcessQuerySet(LogQuerySet["ServerProcess"]):
    """Server processes, including those that were killed."""

    def alive(self) -> ProcessQuerySet:
        """Return those that have renewed their lease within LEASE_S seconds."""
        return self.filter(renewed_at__gt=_last_renewal())


class ServerProcess(models.Model):
    """
    One event loop that serves streams: a lease that its hub renews, with the hub's counts.

    A process that was killed no longer renews it, and its rows are removed.
    """

    name = models.CharField(_("name"), max_length=255, help_text=_("Host and process id."))
    started_at = models.DateTimeField(
        _("started"), help_text=_("When the operating system's process was started.")
    )
    renewed_at = models.DateTimeField(_("renewed"), db_index=True)
    streams = models.IntegerField(_("open streams"), default=0)
    # A stream of several channels has several.
    parts = models.IntegerField(_("subscriptions"), default=0, db_default=0)
    delivered = models.BigIntegerField(_("delivered"), default=0)
    delay_p50_ms = models.FloatField(_("delay, median (ms)"), default=0)
    delay_p99_ms = models.FloatField(_("delay, 99th percentile (ms)"), default=0)

    objects = ProcessQuerySet.as_manager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("server process")
        verbose_name_plural = _("server processes")

    def __str__(self) -> str:
        return self.name


class OnlineQuerySet(LogQuerySet[Any]):
    """Open streams or watchers, including those of processes that were killed."""

    def online(self) -> OnlineQuerySet:
        """Return those whose process has renewed its lease within LEASE_S seconds."""
        return self.filter(process__renewed_at__gt=_last_renewal())


class OpenStream(models.Model):
    """
    A listener's open stream. The hub that serves it inserts and removes the rows in batches.

    No constraints in the database: a batch must not fail if a listener was removed meanwhile.
    """

    id = models.BigIntegerField(primary_key=True)
    process = models.ForeignKey(
        ServerProcess, models.CASCADE, related_name="open_streams", verbose_name=_("server")
    )
    listener = models.ForeignKey(
        Listener,
        models.DO_NOTHING,
        related_name="open_streams",
        verbose_name=_("listener"),
        db_constraint=False,
    )
    opened_at = models.DateTimeField(_("opened"))

    objects = OnlineQuerySet.as_manager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("open stream")
        verbose_name_plural = _("open streams")

    def __str__(self) -> str:
        return f"{self.listener_id} on {self.process_id}"


class Watchers(models.Model):
    """
    How many streams of a process watch a channel, without a listener: one row for all.

    No constraints in the database, as for OpenStream; and the previous version, which does not
    have this table, must be able to remove a process.
    """

    process = models.ForeignKey(
        ServerProcess,
        models.CASCADE,
        related_name="watchers",
        verbose_name=_("server"),
        db_constraint=False,
    )
    channel = models.ForeignKey(
        Channel,
        models.DO_NOTHING,
        related_name="watchers",
        verbose_name=_("channel"),
        db_constraint=False,
    )
    streams = models.IntegerField(_("open streams"))

    objects = OnlineQuerySet.as_manager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("watchers")
        verbose_name_plural = _("watchers")

    def __str__(self) -> str:
        return f"{self.streams} of {self.channel_id} on {self.process_id}"


class PresentQuerySet(LogQuerySet["PresentListener"]):
    """Listeners that have joined."""

    def without_stream(self, ending: Collection[int] = ()) -> PresentQuerySet:
        """Return those that have no stream open now, on any server, but those that end."""
        return self.exclude(self._is_online(ending))

    def with_stream(self) -> PresentQuerySet:
        """Return the others."""
        return self.filter(self._is_online())

    def leaving(self) -> PresentQuerySet:
        """Return those that had a stream GRACE_S seconds ago or later, and have none now."""
        since = timezone.now() - timedelta(seconds=GRACE_S)
        return self.filter(missing_since__gt=since)

    def _is_online(self, ending: Collection[int] = ()) -> models.Exists:
        streams = OpenStream.objects.online().exclude(pk__in=ending)
        return models.Exists(streams.filter(listener=models.OuterRef("pk")))


class PresentListener(models.Model):
    """
    A listener that has joined and not left: recorded only while receivers are connected.

    The process that inserts the row sends `listener_joined`, and the process that deletes it
    sends `listener_left`.
    """

    listener = models.OneToOneField(
        Listener,
        models.DO_NOTHING,
        primary_key=True,
        related_name="+",
        verbose_name=_("listener"),
        db_constraint=False,
    )
    process = models.BigIntegerField(_("server"))
    since = models.DateTimeField(_("since"))
    missing_since = models.DateTimeField(_("missing since"), null=True, db_index=True)

    objects = PresentQuerySet.as_manager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("present listener")
        verbose_name_plural = _("present listeners")

    def __str__(self) -> str:
        return str(self.listener_id)


class PresentUserQuerySet(LogQuerySet["PresentUser"]):
    """Users that are online."""

    def without_listener(self) -> PresentUserQuerySet:
        """Return those none of whose listeners is present."""
        theirs = PresentListener.objects.filter(listener__owner=models.OuterRef("user"))
        return self.exclude(models.Exists(theirs))


class PresentUser(models.Model):
    """
    A user that is online, as PresentListener: the process that inserts the row sends the signal.

    Recorded only while receivers of users' signals are connected.
    """

    user = UserKey(on_delete=models.DO_NOTHING, verbose_name=_("user"), db_index=False)
    process = models.BigIntegerField(_("server"))
    since = models.DateTimeField(_("since"))

    objects = PresentUserQuerySet.as_manager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("present user")
        verbose_name_plural = _("present users")
        constraints = [
            # One process of those that notice it at the same time inserts the row.
            models.UniqueConstraint(fields=["user"], name="eric_present_user"),
        ]

    def __str__(self) -> str:
        return str(self.user_id)


class Monitor(ServerProcess):
    """A model without rows, for the admin. view_monitor shows the payloads of all channels."""

    class Meta:
        proxy = True
        default_permissions = ("view",)
        verbose_name = _("live monitor")
        verbose_name_plural = _("live monitor")
