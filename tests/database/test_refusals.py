"""What cannot be sent is refused at publishing, and nothing is written."""

import json
import math
from typing import Any

import pytest

from eric_sse_django import log, wire
from eric_sse_django.database import DatabaseQueue
from eric_sse_django.exception import (
    InvalidChannelException,
    InvalidListenerException,
    InvalidMessageFormat,
)
from eric_sse_django.log.publishing import ID_MAX_LENGTH
from eric_sse_django.message import Message, SignedMessage, UniqueMessage
from eric_sse_django.models import QueuedMessage
from eric_sse_django.shortcuts import publish
from tests import databases
from tests.database.tools import atomic

TYPES: dict[str, Any] = {
    "CR": "a\rb",
    "LF": "paid\n",
    "NUL": "\0",
    "a lone surrogate": "a\ud800",
    "too long": "x" * 256,
    "empty": "",
    "the app's own": "eric-reset",
    "one that may be the app's": "eric-",
    "no str": 7,
    "None": None,
}
deep: list[Any] = []
for _ in range(wire.MAX_DEPTH):
    deep = [deep]
PAYLOADS: dict[str, Any] = {
    "NaN": math.nan,
    "Infinity": {"deep": [math.inf]},
    "an object": object(),
    "bytes": b"x",
    "a set": {1},
    "nesting": deep,
    "size": "x" * 1_000,
}
IDENTITIES = {
    "sender too long": SignedMessage("x" * 256, "paid"),
    "sender with NUL": SignedMessage("a\0", "paid"),
    "sender no str": SignedMessage(7, "paid"),  # type: ignore[arg-type]
    "id too long": UniqueMessage(Message("paid"), None, "x" * 256),
    "id with a surrogate": UniqueMessage(Message("paid"), None, "\ud800"),
}
MESSAGES = {
    **{f"type: {what}": Message(kind) for what, kind in TYPES.items()},
    **{f"payload: {what}": Message("paid", payload) for what, payload in PAYLOADS.items()},
    **IDENTITIES,
}


@pytest.fixture(autouse=True)
def small_messages(settings):
    settings.ERIC_SSE = {"MAX_MESSAGE_BYTES": 1_000}


@databases.sqlite_rolled_back
@pytest.mark.parametrize("what", MESSAGES)
def test_every_way_of_publishing_refuses_an_invalid_message(
    channel, listener, django_user_model, what
):
    message, user = MESSAGES[what], django_user_model.objects.create(username="ana")
    for way in (
        lambda: channel.broadcast(message),
        lambda: channel.broadcast_many([Message("good"), message]),
        lambda: channel.dispatch(listener.id, message),
        lambda: channel.dispatch_to_owner(user, message),
        lambda: DatabaseQueue(listener.row).push(message),
    ):
        with pytest.raises(InvalidMessageFormat, match="refused"):
            way()
    assert not QueuedMessage.objects.exists()


@databases.sqlite_rolled_back
@pytest.mark.parametrize("lifetime", [0, -1, "5", True, math.nan], ids=str)
def test_every_way_of_publishing_refuses_what_is_no_lifetime(
    channel, listener, django_user_model, lifetime
):
    message, user = Message("n"), django_user_model.objects.create(username="ana")
    for way in (
        lambda: channel.broadcast(message, expires_in_s=lifetime),
        lambda: channel.broadcast_many([message], expires_in_s=lifetime),
        lambda: channel.dispatch(listener.id, message, expires_in_s=lifetime),
        lambda: channel.dispatch_to_owner(user, message, expires_in_s=lifetime),
        lambda: publish("orders", "n", expires_in_s=lifetime),
    ):
        with pytest.raises(InvalidMessageFormat, match="expires_in_s"):
            way()
    assert not QueuedMessage.objects.exists()


def test_a_refusal_does_not_change_the_callers_transaction(channel, listener):
    with atomic():
        publish("orders", "count", 1)
        for message in MESSAGES.values():
            with pytest.raises(InvalidMessageFormat):
                channel.broadcast(message)
        with pytest.raises(InvalidListenerException):
            publish("orders", "count", 2, listener_id="nobody")
        with pytest.raises(InvalidChannelException):
            publish("nowhere", "count", 3)
        publish("orders", "count", 4)
    assert QueuedMessage.objects.count() == 2
    assert [channel.deliver_next(listener.id).payload for _ in range(2)] == [1, 4]


@databases.sqlite_rolled_back
def test_the_bounds_are_those_of_the_columns(database):
    for name in ("sender", "uid"):
        assert QueuedMessage._meta.get_field(name).max_length == ID_MAX_LENGTH


@databases.rolled_back
@pytest.mark.parametrize(
    "payload",
    [
        "\0\r\n\t\x1f\x7f\u2028\ufeff\U0001f600é",
        "\ud800 and \udfff",
        {"\ud83d": "\udc00", "": None},
        [2**63, -(2**200), 10**300, 0.1, -0.0, 1e-300],
        {"a": [{"b": [[], {}, [None, True, {"c": "\\\"'%s"}]]}]},
        "'; DROP TABLE x; -- %s %(x)s {} \\",
        "x" * 990,
    ],
    ids=["controls", "surrogates", "keys", "numbers", "nested", "quoting", "long"],
)
def test_an_accepted_message_is_delivered_unchanged(channel, listener, payload):
    longest = "\U0001f600" * 255
    channel.broadcast(Message(longest, payload))
    [row] = QueuedMessage.objects.all()
    assert row.payload.isascii()
    message = channel.deliver_next(listener.id)
    assert message.type == longest
    # As text, where -0.0 is not 0.0.
    assert json.dumps(message.payload) == json.dumps(payload)
    assert log.head()[1] is False
