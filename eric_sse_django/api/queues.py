"""A listener's queue: read it, take from it, say how far it was read."""

from __future__ import annotations

import json
from typing import Annotated

from django.http import HttpRequest
from ninja import Query, Router, Status

from eric_sse_django import log, notifier
from eric_sse_django.api.access import own_listener
from eric_sse_django.api.documented import errors, example
from eric_sse_django.api.listeners import LISTENER
from eric_sse_django.api.problem import Problem
from eric_sse_django.api.schemas import (
    Acknowledgement,
    ChannelId,
    Cursor,
    ListenerId,
    MessageOut,
    MessagePage,
)
from eric_sse_django.database import operations
from eric_sse_django.database.queue import DatabaseQueue
from eric_sse_django.entry import CONTROLS, Entry
from eric_sse_django.exception import NoMessagesException
from eric_sse_django.models import Listener

router = Router(tags=["queues"])

READ_MOST = 100
# Bytes of payloads after which an answer is full, with one message at least.
READ_BYTES = 1_048_576
ReadLimit = Annotated[int, Query(ge=1, le=READ_MOST, description="How many to return.")]


@router.get(
    LISTENER + "/messages",
    response=MessagePage,
    summary="Read what waits for a listener",
    openapi_extra=errors(404, 409),
)
def read(
    request: HttpRequest, channel_id: ChannelId, listener_id: ListenerId, limit: ReadLimit = 20
) -> MessagePage:
    """
    Oldest first. It stays in the queue until it is acknowledged. Asks can_listen.

    A message of type eric-reset stands for what went unread, by retention or as too much.
    """
    row = _running(own_listener(request, channel_id, listener_id))
    entries = _waiting(row, limit)
    if not entries:
        notifier.settle()
        entries = _waiting(row, limit)
    return MessagePage(messages=[shown(entry) for entry in _cut(entries)])


@router.post(
    LISTENER + "/pop",
    response={200: MessageOut, 204: None},
    summary="Take the oldest message that waits",
    openapi_extra=errors(404, 409),
)
def pop(
    request: HttpRequest, channel_id: ChannelId, listener_id: ListenerId
) -> Status[MessageOut | None]:
    """
    204 when none waits. It is gone from the queue, also if the answer does not arrive.

    Where that must not be, read and acknowledge. Asks can_listen.
    """
    row = _running(own_listener(request, channel_id, listener_id))
    try:
        entry = DatabaseQueue(row).take()
    except NoMessagesException:
        return Status(204, None)
    return Status(200, shown(entry))


@router.post(
    LISTENER + "/ack",
    response=Cursor,
    summary="Acknowledge what was read",
    openapi_extra={**errors(404), **example({"position": 1_204})},
)
def acknowledge(
    request: HttpRequest, channel_id: ChannelId, listener_id: ListenerId, body: Acknowledgement
) -> Cursor:
    """
    Move the listener's cursor to a position: never back. One that the log lacks moves nothing.

    Returns where it stands. Asks can_listen.
    """
    row = own_listener(request, channel_id, listener_id)
    return Cursor(cursor=operations.acknowledge(row, body.position))


def shown(entry: Entry) -> MessageOut:
    """Return what the API shows of a message."""
    return MessageOut(
        position=entry.position,
        type=entry.type,
        payload=json.loads(entry.payload),
        sender=entry.sender,
        id=entry.uid,
        created_at=entry.created_at,
    )


def _running(row: Listener) -> Listener:
    if not row.running:
        raise Problem(409, "The listener is stopped: start it first.", {"listener_id": "stopped"})
    return row


def _waiting(row: Listener, limit: int) -> list[Entry]:
    """Return up to `limit` entries after the cursor; what tells streams to end is left out."""
    after, found = row.cursor, list[Entry]()
    head, _ = log.head()
    while after < head and len(found) < limit and len(_cut(found)) == len(found):
        page = log.read(row.channel_id, row.pk, row.owner_id, after, head, limit)
        found += [entry for entry in page if entry.type not in CONTROLS]
        after = page.reached
    return found[:limit]


def _cut(entries: list[Entry]) -> list[Entry]:
    size = 0
    for number, entry in enumerate(entries):
        size += entry.size
        if size > READ_BYTES and number:
            return entries[:number]
    return entries
