"""A factory for listeners, in the states that a project's code meets."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.utils import timezone

from eric_sse_django.database import DatabaseChannel, DatabaseListener
from eric_sse_django.database.arguments import channel_id_of
from eric_sse_django.database.twins import has_twin, twin_of_function
from eric_sse_django.message import Message
from eric_sse_django.models import Listener


@has_twin
def make_listener(
    channel: Any = "orders",
    owner: Any = None,
    listener_id: str | None = None,
    *,
    running: bool = True,
    waiting: Iterable[Any] = (),
    away_s: float = 0.0,
    acknowledgement: str | None = None,
) -> DatabaseListener:
    """
    Return a new listener of a channel, which is created if there is none.

    `waiting` are messages in its queue: payloads (of type "message"), or pairs of a type and a
    payload. With `away_s` it was created, and seen for the last time, so many seconds ago.
    """
    found = DatabaseChannel.get_or_create(channel_id_of(channel))
    listener = found.add_listener(owner, listener_id, acknowledgement=acknowledgement)
    if running:
        listener.start()
    for each in waiting:
        is_pair = isinstance(each, tuple) and len(each) == 2
        found.dispatch(listener, Message(*(each if is_pair else ("message", each))))
    if away_s:
        then = timezone.now() - timedelta(seconds=away_s)
        Listener.objects.filter(pk=listener.row.pk).update(created_at=then, last_seen=then)
        listener.row.refresh_from_db()
    return listener


amake_listener = twin_of_function(make_listener)
