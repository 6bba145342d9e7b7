"""Publishing over HTTP."""

import json

import pytest
from django.db import transaction

from eric_sse_django.api import access
from eric_sse_django.authorization import Authorizer
from eric_sse_django.models import QueuedMessage
from tests.api.conftest import api_of, problem, user_with

pytestmark = pytest.mark.django_db

BROADCAST = "channels/orders/broadcast"
DISPATCH = "channels/orders/listeners/till-7/dispatch"
BATCH = "channels/orders/messages"


class AsyncRules(Authorizer):
    """Rules that are coroutine functions; the user "ada" may publish."""

    async def can_publish(self, user, channel):
        return user.get_username() == "ada" and channel.name == "orders"


def published():
    rows = QueuedMessage.objects.order_by("pk")
    return [(row.type, json.loads(row.payload), row.listener_id, row.owner_id) for row in rows]


@pytest.mark.parametrize("payload", [None, 7, 1.5, "ü\ud800", True, [1, [2]], {"a": {"b": 1}}])
def test_a_broadcast_does_not_change_its_payload(publisher, orders, payload):
    answer = publisher.post(BROADCAST, {"type": "paid", "payload": payload})
    assert (answer.status_code, answer.json()) == (202, {"channel": "orders", "accepted": 1})
    assert published() == [("paid", payload, None, None)]


def test_a_dispatch_goes_to_one_listener(publisher, till):
    assert publisher.post(DISPATCH, {"type": "paid"}).status_code == 202
    assert published() == [("paid", None, till.row.pk, None)]


def test_a_batch_is_published_in_its_order(publisher, till, ada):
    messages = [
        {"type": "a"},
        {"type": "b", "payload": 1, "listener": "till-7"},
        {"type": "c", "owner": "ada"},
    ]
    assert publisher.post(BATCH, {"messages": messages}).json()["accepted"] == 3
    assert published() == [
        ("a", None, None, None),
        ("b", 1, till.row.pk, None),
        ("c", None, None, ada.pk),
    ]


def test_a_message_may_have_a_lifetime(publisher, till):
    publisher.post(BROADCAST, {"type": "typing", "expires_in_s": 5})
    publisher.post(DISPATCH, {"type": "typing", "expires_in_s": 0.5})
    messages = [{"type": "typing", "owner": "ada", "expires_in_s": 7}, {"type": "paid"}]
    publisher.post(BATCH, {"messages": messages})
    lives = [
        (row.expires_at - row.created_at).total_seconds() if row.perishable else None
        for row in QueuedMessage.objects.order_by("pk")
    ]
    assert lives == [5, 0.5, 7, None]


@pytest.mark.parametrize("value", [0, -1, "5", True, 10**30, [5]])
def test_a_lifetime_is_a_number_of_seconds(publisher, orders, value):
    body = {"type": "typing", "expires_in_s": value}
    problem(publisher.post(BROADCAST, body), 422, "body.expires_in_s")


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"type": "a\nb"}, "message 1"),
        ({"type": "eric-stop"}, "message 1"),
        ({"type": "a", "listener": "nobody"}, "message 1: listener"),
        ({"type": "a", "owner": "root"}, "message 1: owner"),
        ({"type": "a", "owner": "\0"}, "message 1: owner"),
        # None never widens who gets a message.
        ({"type": "a", "owner": None}, "body.messages.1.owner"),
        ({"type": "a", "listener": None}, "body.messages.1.listener"),
        ({"type": "a", "listener": "till-7", "owner": "ada"}, "message 1"),
        ({"type": 7}, "body.messages.1.type"),
        ({"type": "a", "listener": "TILL-7"}, "message 1: listener"),
    ],
)
def test_one_invalid_message_rejects_the_whole_batch(root, till, wrong, name):
    problem(root.post(BATCH, {"messages": [{"type": "good"}, wrong]}), 422, name)
    assert published() == []


@pytest.mark.parametrize("body", [{"messages": []}, {"messages": {}}, {}, {"messages": None}])
def test_an_invalid_batch_is_refused(publisher, orders, body):
    problem(publisher.post(BATCH, body), 422, "body.messages")


def test_a_batch_is_bounded(settings, publisher, orders):
    settings.ERIC_SSE = {"MAX_BATCH_MESSAGES": 2}
    problem(publisher.post(BATCH, {"messages": [{"type": "a"}] * 3}), 413, "body.messages")
    assert publisher.post(BATCH, {"messages": [{"type": "a"}] * 2}).status_code == 202


def test_a_payload_that_is_too_large_is_413(settings, publisher, orders):
    settings.ERIC_SSE = {"MAX_MESSAGE_BYTES": 10}
    problem(publisher.post(BROADCAST, {"type": "a", "payload": "x" * 10}), 413, "message 0")


def test_a_body_that_is_too_large_is_refused_before_it_is_read(settings, publisher, orders):
    settings.ERIC_SSE = {"MAX_MESSAGE_BYTES": 10}
    text = "{" + " " * (access.ENVELOPE_BYTES + 10)
    problem(raw(publisher, BROADCAST, text), 413, "body")
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 5
    assert "DATA_UPLOAD" in problem(raw(publisher, BROADCAST, "{}    "), 413, "body")["detail"]


def raw(api, path, text, content_type="application/json"):
    return api.client.generic(
        "POST", f"/api/{path}", text, content_type=content_type, headers=api.headers
    )


@pytest.mark.parametrize(
    "text",
    ["{", "nul", b"\xff", "[" * 100_000, "1" * 5_000, '{"type": "a", "payload": ' + "9" * 5_000],
)
def test_a_body_that_is_not_json_is_malformed(publisher, orders, text):
    problem(raw(publisher, BROADCAST, text), 400, "body")


@pytest.mark.parametrize("payload", ["NaN", "-Infinity", "1e999", "[" * 101 + "]" * 101])
def test_a_value_outside_json_is_refused(publisher, orders, payload):
    problem(raw(publisher, BROADCAST, f'{{"type": "a", "payload": {payload}}}'), 422, "message 0")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_another_media_type_is_415(publisher, orders, content_type):
    answer = raw(publisher, BROADCAST, '{"type": "a"}', content_type)
    problem(answer, 415, "Content-Type")


def test_another_method_is_405(publisher):
    answer = publisher.get(BROADCAST)
    problem(answer, 405, "method")
    assert answer["Allow"] == "POST"


@pytest.mark.parametrize("name", ["orders", "nowhere", "%00"])
@pytest.mark.parametrize("verb", ["broadcast", "messages", "listeners/till-7/dispatch"])
def test_unknown_and_forbidden_are_one_answer(unprivileged, till, name, verb):
    body = {"messages": [{"type": "a"}]} if verb == "messages" else {"type": "a"}
    answer = problem(unprivileged.post(f"channels/{name}/{verb}", body), 404, "channel_id")
    assert answer == problem(unprivileged.post(f"channels/none/{verb}", body), 404, "channel_id")
    assert published() == []


def test_a_listener_that_does_not_exist_is_unknown(publisher, orders):
    problem(publisher.post(DISPATCH, {"type": "a"}), 404, "listener_id")


def test_the_projects_rules_are_checked(settings, orders, ada, publisher):
    settings.ERIC_SSE = {"AUTHORIZER": "tests.api.test_publishing.AsyncRules"}
    problem(publisher.post(BROADCAST, {"type": "a"}), 404, "channel_id")
    assert api_of(ada).post(BROADCAST, {"type": "a"}).status_code == 202


def test_publishing_is_in_the_requests_transaction(publisher, orders):
    with transaction.atomic():
        assert publisher.post(BROADCAST, {"type": "a"}).status_code == 202
        transaction.set_rollback(True)
    assert published() == []


def test_the_rate_of_a_token_is_bounded(settings, orders, publisher):
    settings.ERIC_SSE = {"API_RATE_PER_MINUTE": 3}
    two = {"messages": [{"type": "a"}] * 2}
    assert publisher.post(BATCH, two).status_code == 202
    assert publisher.post(BATCH, two).status_code == 202
    answer = publisher.post(BATCH, two)
    problem(answer, 429)
    assert 1 <= int(answer["Retry-After"]) <= 60
    assert len(published()) == 4
    other = api_of(user_with("other", "publish_channel"))
    assert other.post(BATCH, two).status_code == 202


def test_an_unexpected_error_is_logged_and_not_shown(monkeypatch, publisher, orders, caplog):
    from eric_sse_django.api import publishing

    def fail(rows):
        raise RuntimeError("secret")

    monkeypatch.setattr(publishing.log, "append_one", fail)
    publisher.client.raise_request_exception = False
    answer = publisher.post(BROADCAST, {"type": "a"})
    assert "secret" not in json.dumps(problem(answer, 500))
    assert "RuntimeError: secret" in caplog.text


def test_a_busy_database_is_a_503_with_retry_after(monkeypatch, publisher, orders):
    from django.db import OperationalError

    from eric_sse_django.api import publishing

    def fail(rows):
        raise OperationalError("deadlock")

    monkeypatch.setattr(publishing.log, "append_one", fail)
    answer = publisher.post(BROADCAST, {"type": "a"})
    problem(answer, 503)
    assert answer["Retry-After"] == "1"
