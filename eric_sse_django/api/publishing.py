"""Publishing to all listeners, to one or in batches; each request publishes once."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse
from ninja import Header, Router

from eric_sse_django import conf, log, notifier, wire
from eric_sse_django.api import idempotency
from eric_sse_django.api.access import caller_of, publishable
from eric_sse_django.api.problem import Problem, errors
from eric_sse_django.api.rate import charge
from eric_sse_django.api.schemas import (
    Accepted,
    AddressedMessage,
    ChannelId,
    ListenerId,
    NewBatch,
    NewMessage,
    example,
)
from eric_sse_django.database.rows import listener_row
from eric_sse_django.exception import InvalidMessageFormat
from eric_sse_django.message import Message
from eric_sse_django.models import Channel, Listener, users_named

router = Router(tags=["publishing"])
ERRORS = errors(404, 409, 429)
ONE_MESSAGE = example({"type": "paid", "payload": {"id": 7}})
MANY_MESSAGES = example(
    {
        "messages": [
            {"type": "paid", "payload": 7},
            {"type": "typing", "owner": "ada", "expires_in_s": 5},
        ]
    }
)

# idempotency.once() reads it from the request; this declares it for OpenAPI.
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias=idempotency.HEADER,
        description="New for each request; a request that is repeated with it publishes once.",
        max_length=idempotency.KEY_MAX_LENGTH,
        min_length=1,
    ),
]


@router.post(
    "/channels/{channel_id}/broadcast",
    response={202: Accepted},
    summary="Publish to all listeners of a channel",
    openapi_extra={**ERRORS, **ONE_MESSAGE},
)
def broadcast(
    request: HttpRequest,
    response: HttpResponse,
    channel_id: ChannelId,
    body: NewMessage,
    idempotency_key: IdempotencyKey = None,
) -> Any:
    """And to its watchers. Checks the project's rules (can_publish)."""
    channel = publishable(request, channel_id)
    return _publish(request, response, channel, [AddressedMessage(**body.dict())])


@router.post(
    "/channels/{channel_id}/listeners/{listener_id}/dispatch",
    response={202: Accepted},
    summary="Publish to one listener",
    openapi_extra={**ERRORS, **ONE_MESSAGE},
)
def dispatch(
    request: HttpRequest,
    response: HttpResponse,
    channel_id: ChannelId,
    listener_id: ListenerId,
    body: NewMessage,
    idempotency_key: IdempotencyKey = None,
) -> Any:
    """Checks the project's rules (can_publish)."""
    channel = publishable(request, channel_id)
    row = listener_row(channel, listener_id)
    message = AddressedMessage(**body.dict(), listener=row.name)
    return _publish(request, response, channel, [message], {row.name: row.pk})


@router.post(
    "/channels/{channel_id}/messages",
    response={202: Accepted},
    summary="Publish many messages, all or none",
    openapi_extra={**ERRORS, **MANY_MESSAGES},
)
def publish_batch(
    request: HttpRequest,
    response: HttpResponse,
    channel_id: ChannelId,
    body: NewBatch,
    idempotency_key: IdempotencyKey = None,
) -> Any:
    """In order; each to all, to one listener or to a user's listeners. Checks can_publish."""
    channel = publishable(request, channel_id)
    most = conf.get("MAX_BATCH_MESSAGES")
    if len(body.messages) > most:
        detail = f"A batch may have {most} messages."
        raise Problem(413, detail, {"body.messages": f"has {len(body.messages)}"})
    return _publish(request, response, channel, body.messages, _listeners(channel, body.messages))


def _publish(
    request: HttpRequest,
    response: HttpResponse,
    channel: Channel,
    messages: Sequence[AddressedMessage],
    listeners: dict[str, int] | None = None,
) -> Any:
    owners = _owners(channel, messages)
    rows = [
        _row(channel, number, message, listeners or {}, owners)
        for number, message in enumerate(messages)
    ]

    def publish() -> dict[str, Any]:
        charge(caller_of(request), len(rows))
        notifier.publish(rows)
        return {"channel": channel.name, "accepted": len(rows)}

    answer, is_replay = idempotency.once(request, publish)
    if is_replay:
        response["Idempotency-Replayed"] = "true"
    return answer


def _row(
    channel: Channel,
    number: int,
    message: AddressedMessage,
    listeners: dict[str, int],
    owners: dict[str, Any],
) -> log.Draft:
    place = f"message {number}"
    if message.listener is not None and message.owner is not None:
        raise Problem(422, "Send listener or owner, not both.", {place: "has both"})
    to, owner = listeners.get(message.listener or ""), owners.get(message.owner or "")
    if (message.listener, to) != (None, None) and to is None:
        raise Problem(422, "There is no such listener.", {f"{place}: listener": "unknown"})
    if message.owner is not None and owner is None:
        detail = "No listener of the channel has that owner."
        raise Problem(422, detail, {f"{place}: owner": "owns no listener here"})
    try:
        content = Message(message.type, message.payload)
        return log.row(channel, content, to, owner, message.expires_in_s)
    except InvalidMessageFormat as error:
        raise Problem(_status_of(message), str(error), {place: error.reason}) from None


def _status_of(message: AddressedMessage) -> int:
    """Return 413 for a payload that is only too large, else 422."""
    try:
        size = len(wire.json_text(message.payload, sys.maxsize))
    except InvalidMessageFormat:
        return 422
    return 413 if size > conf.get("MAX_MESSAGE_BYTES") else 422


def _listeners(channel: Channel, messages: Sequence[AddressedMessage]) -> dict[str, int]:
    names = {message.listener for message in messages if message.listener is not None}
    names = {name for name in names if name.isascii() and name.isprintable()}
    if not names:
        return {}
    rows = Listener.objects.filter(channel=channel, name__in=names)
    return dict(rows.values_list("name", "pk"))


def _owners(channel: Channel, messages: Sequence[AddressedMessage]) -> dict[str, Any]:
    """Return the owners of the channel's listeners by name; no other users, to reveal none."""
    names = {message.owner for message in messages if message.owner is not None}
    names = {name for name in names if name.isprintable()}
    if not names:
        return {}
    keys = users_named(names)
    owners = Listener.objects.filter(channel=channel, owner__in=keys.values())
    known = set(owners.values_list("owner_id", flat=True))
    return {name: key for name, key in keys.items() if key in known}
