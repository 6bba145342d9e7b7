"""Channels: create, list, show, delete."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.http import HttpRequest
from ninja import Router, Status

from eric_sse_django.api.access import known_channel, require
from eric_sse_django.api.problem import Problem, errors
from eric_sse_django.api.schemas import (
    After,
    ChannelId,
    ChannelOut,
    ChannelPage,
    Limit,
    NewChannel,
    example,
    page,
)
from eric_sse_django.database.operations import remove_channel
from eric_sse_django.database.rows import create_channel as create
from eric_sse_django.models import Channel

router = Router(tags=["channels"])


def shown(row: Channel) -> ChannelOut:
    """Return a channel as the API shows it."""
    return ChannelOut(
        id=row.name,
        format=row.format,
        access=row.access,
        retention_s=row.retention_s,
        expires_in_s=row.expires_in_s,
        created_at=row.created_at,
    )


@router.get("/channels", response=ChannelPage, summary="List the channels", openapi_extra=errors())
def list_channels(request: HttpRequest, limit: Limit = 100, after: After = None) -> ChannelPage:
    """Ordered by id. Needs the permission view_channel."""
    require(request, "view_channel")
    rows, following = page(Channel.objects.all(), limit, after)
    return ChannelPage(channels=[shown(row) for row in rows], next=following)


@router.post(
    "/channels",
    response={201: ChannelOut},
    summary="Create a channel",
    openapi_extra={**errors(409), **example({"id": "orders"})},
)
def create_channel(request: HttpRequest, body: NewChannel) -> Status[ChannelOut]:
    """Needs the permission add_channel. 409 if the id exists."""
    require(request, "add_channel")
    try:
        row = create(body.id, **body.dict(exclude={"id"}))
    except ValidationError as error:
        raise Problem(422, "; ".join(error.messages)) from None
    return Status(201, shown(row))


@router.get(
    "/channels/{channel_id}",
    response=ChannelOut,
    summary="Show a channel",
    openapi_extra=errors(404),
)
def show_channel(request: HttpRequest, channel_id: ChannelId) -> ChannelOut:
    """Needs the permission view_channel."""
    require(request, "view_channel")
    return shown(known_channel(channel_id))


@router.delete(
    "/channels/{channel_id}",
    response={204: None},
    summary="Delete a channel",
    openapi_extra=errors(404),
)
def delete_channel(request: HttpRequest, channel_id: ChannelId) -> Status[None]:
    """Also its listeners and messages; its streams end. Needs the permission delete_channel."""
    require(request, "delete_channel")
    remove_channel(known_channel(channel_id))
    return Status(204, None)
