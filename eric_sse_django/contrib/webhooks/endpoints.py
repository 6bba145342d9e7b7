"""Endpoints: to register one, and the leases by which workers share them."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from eric_sse_django import log
from eric_sse_django.contrib.webhooks import conf
from eric_sse_django.contrib.webhooks.models import DeadLetter, Endpoint
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.database.arguments import channel_id_of
from eric_sse_django.models import Listener

# Seconds of a lease beside the time that a request may take: for the queries around it.
LEASE_MARGIN_S = 30.0
# Seconds by which the clocks of workers may differ, so that none takes the lease of another.
MAX_SKEW_S = LEASE_MARGIN_S


def register(
    channel: Any,
    url: str,
    *,
    types: Sequence[str] = (),
    owner: Any = None,
    listener_id: str | None = None,
) -> Endpoint:
    """
    Return a new endpoint, with a new listener: it gets what is published from now on.

    With an `owner` it also gets what is published to this user's listeners, and with `types`
    only messages of these. Raises ValidationError for a URL that is refused, and what
    add_listener() raises.
    """
    found = DatabaseChannel.load(channel_id_of(channel))
    endpoint = Endpoint(url=url, types=list(types))
    endpoint.clean_fields(exclude=["listener"])
    name = listener_id or f"webhook-{secrets.token_hex(8)}"
    with transaction.atomic(using=log.database()):
        added = found.add_listener(owner, name, acknowledgement="client")
        added.start()
        endpoint.listener = added.row
        endpoint.save(force_insert=True)
    return endpoint


def send_again(letters: QuerySet[DeadLetter]) -> int:
    """Let a worker send dead letters once more, as soon as possible; return how many."""
    return letters.filter(again_at=None).update(again_at=timezone.now())


def on_deleted(instance: Endpoint, origin: Any = None, **_: Any) -> None:
    """Remove the listener of a deleted endpoint. Connected to post_delete."""
    if getattr(origin, "model", type(origin)) is Endpoint:  # not if the listener is deleted
        Listener.objects.filter(pk=instance.listener_id).delete()


# Leases -----------------------------------------------------------------------------


def new_lease() -> str:
    """Return a name for one turn of a worker, which no other has."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(8)}"[-128:]


def due(channels: Collection[int] | None, now: datetime) -> list[int]:
    """
    Return the keys of the endpoints that may have something to send, longest waiting first.

    Those with a retry or a dead letter that is due, and those of some channels (None: of all)
    with new messages. None that has a lease, is stopped, or waits for its next attempt.
    """
    head, _ = log.head()
    rows = Endpoint.objects.filter(listener__running=True).filter(_is_free(now))
    new = Q(next_attempt_at=None, listener__cursor__lt=head, checked__lt=head)
    if channels is not None:
        new &= Q(listener__channel__in=channels)
    again = DeadLetter.objects.filter(again_at__lte=now).values("endpoint")
    retry = Q(next_attempt_at__lte=now) | Q(next_attempt_at__gt=_latest_attempt(now))
    found = rows.filter(new | retry | Q(pk__in=again))
    return list(
        found.order_by(F("lease_until").asc(nulls_first=True)).values_list("pk", flat=True)
    )


def is_due(endpoint: Endpoint, now: datetime) -> bool:
    """Return whether the time of the endpoint's next attempt has come."""
    at = endpoint.next_attempt_at
    return at is None or at <= now or at > _latest_attempt(now)


def _latest_attempt(now: datetime) -> datetime:
    """Return the latest time of an attempt; a later one is of a clock that was set back since."""
    return now + timedelta(seconds=conf.get("MAX_DELAY_S") + MAX_SKEW_S)


def claim(key: int, lease: str) -> Endpoint | None:
    """Return the endpoint, with the lease; None if another worker has one."""
    now = timezone.now()
    free = Endpoint.objects.filter(_is_free(now), pk=key)
    if not free.update(lease=lease, lease_until=_until(now)):
        return None
    found = Endpoint.objects.filter(pk=key, lease=lease)
    return found.select_related("listener__channel").first()


def renew(endpoint: Endpoint) -> bool:
    """Renew the lease for one more request; return False if another worker has it."""
    return bool(leased(endpoint).update(lease_until=_until(timezone.now())))


def release(endpoint: Endpoint) -> None:
    """End the lease. The time stays: those that were served longest ago are next."""
    leased(endpoint).update(lease="", lease_until=timezone.now())


def leased(endpoint: Endpoint) -> QuerySet[Endpoint]:
    """Return its row for an update, as long as the lease is its own."""
    return Endpoint.objects.filter(pk=endpoint.pk, lease=endpoint.lease)


def _is_free(now: datetime) -> Q:
    # One that would end later than a lease can is of a clock that was set back since.
    latest = _until(now) + timedelta(seconds=MAX_SKEW_S)
    return Q(lease="") | Q(lease_until__lt=now) | Q(lease_until__gt=latest)


def _until(now: datetime) -> datetime:
    return now + timedelta(seconds=conf.get("TIMEOUT_S") + LEASE_MARGIN_S)
