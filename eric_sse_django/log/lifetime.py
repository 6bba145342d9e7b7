"""Which messages have expired, and are delivered no longer; and when they are removed."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Q

from eric_sse_django import conf

# The condition of a message that has not expired at the time that is its parameter: one that
# retention is to remove is delivered until then.
ALIVE = "(NOT perishable OR expires_at > %s)"

# Seconds for which an expired message is kept, besides the poll interval. A removal before a hub
# has looked makes that hub's streams read the log, because it might be a loss: with lifetimes
# of seconds and no layer each trim did that to all streams.
UNREAD_S = 60.0


def is_over(now: datetime) -> Q:
    """Return the condition of messages that retention removes."""
    unread = now - timedelta(seconds=UNREAD_S + conf.get("POLL_INTERVAL_S"))
    perished = Q(perishable=False) | Q(expires_at__lt=unread)
    return Q(expires_at__lt=now) & perished
