"""The channels and listeners of a run, and the content of its log at the end."""

from __future__ import annotations

import json

from asgiref.sync import sync_to_async

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.models import QueuedMessage
from eric_sse_django.shortcuts import channel, listen, stream_url, watch_url
from tests.faults.verdict import Row
from tests.faults.working import QUEUE
from tests.faults.writing import CHANNEL, JOBS


@sync_to_async
def build(clients: int) -> list[tuple[str, str | None]]:
    """
    Create channels and listeners; return each client's path, with its listener's id or None.

    Of five clients three have a listener (some share one), two watch the channel.
    """
    channel(CHANNEL)
    channel(JOBS)
    listen(JOBS, listener_id=QUEUE)
    for number in range(10):
        listen(CHANNEL, listener_id=f"listener-{number}")
    made: list[tuple[str, str | None]] = []
    for number in range(clients):
        if number % 5 in (1, 3):
            made.append((watch_url(CHANNEL), None))
        else:
            name = f"listener-{number * 3 // 5}"
            listener = listen(CHANNEL, listener_id=name)
            made.append((stream_url(listener, ticket=True), name))
    # Two clients share one listener.
    shared = DatabaseChannel.load(CHANNEL).get_listener("listener-0")
    made[-1] = (stream_url(shared, ticket=True), "listener-0")
    return made


@sync_to_async
def log_rows() -> list[Row]:
    """Return the whole log."""
    found = QueuedMessage.objects.select_related("channel", "listener").order_by("position", "id")
    return [
        Row(
            row.position,
            json.loads(row.payload)["key"],
            row.listener.name if row.listener else None,
            for_clients=row.channel.name == CHANNEL,
        )
        for row in found
    ]
