"""A listener's queue: read it, take from it, acknowledge it."""

from __future__ import annotations

import json
from typing import Annotated

from django.http import HttpRequest
from ninja import Query, Router, Status

from eric_sse_django import log, notifier
from eric_sse_django.api.access import own_listener
from eric_sse_django.api.listeners import LISTENER
from eric_sse_django.api.problem import Problem, errors
from eric_sse_django.api.schemas import (
    Acknowledgement,
    ChannelId,
    Cursor,
    ListenerId,
    MessageOut,
    MessagePage,
    example,
)
from eric_sse_django.database import acknowledgement
from eric_sse_django.database.queue import DatabaseQueue
from eric_sse_django.entry import CONTROLS, Entry
from eric_sse_django.exception import NoMessagesException
from eric_sse_django.models import Listener

router = Router(tags=["queues"])

MAX_READ = 100
# Bytes of payloads in one answer, which has at least one message.
MAX_READ_BYTES = 1_048_576
ReadCount = Annotated[int, Query(ge=1, le=MAX_READ, description="How many to return.")]


@router.get(
    LISTENER + "/messages",
    response=MessagePage,
    summary="Read the messages that wait for a listener",
    openapi_extra=errors(404, 409),
)
def read(
    request: HttpRequest, channel_id: ChannelId, listener_id: ListenerId, limit: ReadCount = 20
) -> MessagePage:
    """
    Oldest first. They stay in the queue until acknowledged. Checks can_listen.

    A message of type eric-reset stands for messages that were removed unread, by retention or
    by MAX_WAITING_MESSAGES.
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
    summary="Take the oldest message",
    openapi_extra=errors(404, 409),
)
def pop(
    request: HttpRequest, channel_id: ChannelId, listener_id: ListenerId
) -> Status[MessageOut | None]:
    """
    204 if the queue is empty. The message leaves the queue even if the response is lost.

    To avoid that, read and acknowledge. Checks can_listen.
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
    summary="Acknowledge messages",
    openapi_extra={**errors(404), **example({"position": 1_204})},
)
def acknowledge(
    request: HttpRequest, channel_id: ChannelId, listener_id: ListenerId, body: Acknowledgement
) -> Cursor:
    """
    Move the listener's cursor forward to a position; one that the log does not have is ignored.

    Returns the cursor. Checks can_listen.
    """
    row = own_listener(request, channel_id, listener_id)
    return Cursor(cursor=acknowledgement.acknowledge(row, body.position))


def shown(entry: Entry) -> MessageOut:
    """Return a message as the API shows it."""
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
    """Return up to `limit` entries after the cursor, without control messages."""
    after, found = row.cursor, list[Entry]()
    head, _ = log.head()
    while after < head and len(found) < limit and len(_cut(found)) == len(found):
        page = log.read([log.Recipient.of(row, after)], head, limit)
        found += [entry for entry in page if entry.type not in CONTROLS]
        after = page.reached
    return found[:limit]


def _cut(entries: list[Entry]) -> list[Entry]:
    size = 0
    for number, entry in enumerate(entries):
        size += entry.size
        if size > MAX_READ_BYTES and number:
            return entries[:number]
    return entries
