"""A user's code, as strict as types can be: mypy and pyright find nothing in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, TypedDict

from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from eric_sse_django.authorization import Authorizer, make_ticket, revoke
from eric_sse_django.database import DatabaseChannel, DatabaseListener
from eric_sse_django.exception import InvalidChannelException
from eric_sse_django.message import Message, MessageContract, Payload
from eric_sse_django.models import Channel, Listener
from eric_sse_django.routing import with_streams
from eric_sse_django.shortcuts import (
    alisten,
    apublish,
    astream_url,
    channel,
    listen,
    publish,
    stream_url,
    watch_url,
)


class Order(TypedDict):
    id: int
    paid_at: datetime


class Rules(Authorizer):
    """One rule is a coroutine, one is a function that asks the default."""

    async def can_watch(self, user: Any, channel: Channel) -> bool:
        return bool(await user.groups.filter(name=channel.name).aexists())

    def can_listen(self, user: Any, channel: Channel, listener: Listener) -> bool:
        return super().can_listen(user, channel, listener) is True or bool(user.is_staff)


class Shouting(DatabaseChannel):
    def adapt(self, msg: MessageContract) -> dict[str, Any]:
        return {"event": msg.type.upper(), "data": msg.payload}


def payloads() -> Sequence[Payload]:
    order: Order = {"id": 7, "paid_at": datetime.now(timezone.utc)}
    frozen: Mapping[str, int] = {"id": 7}
    numbers: Sequence[int] = (1, 2)
    orders: list[Order] = [order]
    return [order, frozen, numbers, orders, "text", 7, 1.5, True, None]


def view(request: HttpRequest) -> HttpResponse:
    made: DatabaseChannel = channel("orders", access="users")
    listener: DatabaseListener = listen(made, owner=request.user, device=request)
    urls: list[str] = [stream_url(listener), watch_url("orders", request=request)]
    return render(request, "orders.html", {"urls": urls})


async def async_view(request: HttpRequest) -> HttpResponse:
    listener = await alisten("orders", await request.auser())
    await apublish("orders", "paid", {"id": 7}, owner=1)
    return HttpResponse(await astream_url(listener, request=request))


def work(user: User) -> int:
    for payload in payloads():
        publish("orders", "paid", payload, owner=user, expires_in_s=5)
    revoke(user=user)
    try:
        message = DatabaseChannel.load("orders").deliver_next("till-7")
    except InvalidChannelException as error:
        raise LookupError(error.channel_id) from error
    number: int = message.payload["id"]
    ticket: str = make_ticket("orders", "till-7", max_age_s=300)
    return number + len(ticket)


message: Message = Message("paid", {"id": 7})
application = with_streams(None)
