"""Who serves which streams now."""

from __future__ import annotations

from datetime import timedelta

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from eric_sse_django.models.listener import Listener

# Seconds after its last renewal for which a process and its streams count as alive.
LEASE_S = 45.0


class ServerProcess(models.Model):
    """
    One event loop that serves streams: a lease, renewed by its hub, with what it counts.

    A process that was killed renews no more, and is forgotten with its streams.
    """

    name = models.CharField(_("name"), max_length=255, help_text=_("Host and process id."))
    started_at = models.DateTimeField(_("started"))
    renewed_at = models.DateTimeField(_("renewed"), db_index=True)
    streams = models.IntegerField(_("open streams"), default=0)
    delivered = models.BigIntegerField(_("delivered"), default=0)
    delay_p50_ms = models.FloatField(_("delay, median (ms)"), default=0)
    delay_p99_ms = models.FloatField(_("delay, 99th percentile (ms)"), default=0)

    class Meta:
        verbose_name = _("server process")
        verbose_name_plural = _("server processes")

    def __str__(self) -> str:
        return self.name


class OpenStreamQuerySet(models.QuerySet["OpenStream"]):
    """Open streams, also those of processes that died without a word."""

    def online(self) -> OpenStreamQuerySet:
        """Return those whose process has renewed its lease within LEASE_S seconds."""
        return self.filter(process__renewed_at__gt=timezone.now() - timedelta(seconds=LEASE_S))


class OpenStream(models.Model):
    """
    A listener's open stream. Written and removed in batches, by the hub that serves it.

    No constraints in the database: a listener removed meanwhile must not fail the batch.
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

    objects = OpenStreamQuerySet.as_manager()

    class Meta:
        verbose_name = _("open stream")
        verbose_name_plural = _("open streams")

    def __str__(self) -> str:
        return f"{self.listener_id} on {self.process_id}"
