"""Which users have a stream open."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model

from eric_sse_django.models import Channel, OpenStream

# Users in one statement.
BATCH = 200


def users_online(channel: Channel) -> list[Any]:
    """Return the owners of the channel's listeners that have a stream open, by their keys."""
    streams = OpenStream.objects.online()
    owned = streams.filter(listener__channel=channel, listener__owner__isnull=False)
    keys = sorted(set(owned.values_list("listener__owner", flat=True)))
    users: Any = get_user_model()._default_manager
    found: dict[Any, Any] = {}
    for first in range(0, len(keys), BATCH):
        found |= users.in_bulk(keys[first : first + BATCH])
    return [found[key] for key in keys if key in found]
