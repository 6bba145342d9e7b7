"""How long a message is kept, and whether it expires: it is then delivered no longer."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q

from eric_sse_django import conf
from eric_sse_django.exception import InvalidMessageFormat
from eric_sse_django.models import Channel

# The condition of a message that has not expired at the time that is its parameter: one that
# retention is to remove is delivered until then.
ALIVE = "(NOT perishable OR expires_at > %s)"

# Seconds for which an expired message is kept, besides the poll interval. A removal before a hub
# has looked makes that hub's streams read the log, because it might be a loss: with lifetimes
# of seconds and no layer each trim did that to all streams.
UNREAD_S = 60.0


def lifetime_of(channel: Channel, expires_in_s: float | None) -> tuple[float, bool]:
    """
    Return for how many seconds a message of a channel is kept, and whether it expires then.

    `expires_in_s` is its own lifetime, None for the channel's. Raises InvalidMessageFormat.
    """
    kept_s: float = channel.retention_s or conf.get("RETENTION_S")
    lives_s: Any = channel.expires_in_s
    if expires_in_s is not None:
        lives_s = expires_in_s
        number = isinstance(lives_s, (int, float)) and not isinstance(lives_s, bool)
        if not (number and lives_s > 0):
            raise InvalidMessageFormat(
                f"its expires_in_s is {lives_s!r}; give a number of seconds over 0, or None"
            )
    if lives_s is None or lives_s > kept_s:
        return kept_s, False
    return lives_s, True


def is_over(now: datetime) -> Q:
    """Return the condition of messages that retention removes."""
    unread = now - timedelta(seconds=UNREAD_S + conf.get("POLL_INTERVAL_S"))
    perished = Q(perishable=False) | Q(expires_at__lt=unread)
    return Q(expires_at__lt=now) & perished
