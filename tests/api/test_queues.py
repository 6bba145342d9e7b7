"""A listener's queue over HTTP."""

import pytest
from django.utils import timezone

from eric_sse_django import log, notifier
from eric_sse_django.database import operations
from eric_sse_django.message import Message, UniqueMessage
from eric_sse_django.models import Listener, QueuedMessage
from tests.api.conftest import api_of, problem

pytestmark = pytest.mark.django_db(transaction=True)

TILL = "channels/orders/listeners/till-7"


@pytest.fixture
def api(till, ada):
    return api_of(ada)


def payloads(answer):
    return [each["payload"] for each in answer.json()["messages"]]


def cursor():
    return Listener.objects.get().cursor


def test_pop_takes_the_oldest_until_the_queue_is_empty(api, orders):
    orders.broadcast(Message("paid", {"id": 7}))
    orders.dispatch("till-7", UniqueMessage(Message("sent"), "desk", "m-1"))
    first, second = api.post(f"{TILL}/pop").json(), api.post(f"{TILL}/pop").json()
    assert (first["type"], first["payload"], first["id"]) == ("paid", {"id": 7}, None)
    assert (second["type"], second["sender"], second["id"]) == ("sent", "desk", "m-1")
    assert second["position"] == cursor() > first["position"]
    assert api.post(f"{TILL}/pop").status_code == 204


def test_a_message_that_was_read_stays_until_acknowledged(api, orders):
    for number in range(3):
        orders.broadcast(Message("number", number))
    notifier.settle()  # else it may still be giving them their positions
    answer = api.get(f"{TILL}/messages?limit=2")
    assert payloads(answer) == [0, 1]
    assert payloads(api.get(f"{TILL}/messages")) == [0, 1, 2]
    position = answer.json()["messages"][-1]["position"]
    assert api.post(f"{TILL}/ack", {"position": position}).json() == {"cursor": position}
    assert payloads(api.get(f"{TILL}/messages")) == [2]


def test_control_messages_are_not_read(api, orders, till):
    for _ in range(3):
        operations.disconnect([till.row])
    orders.broadcast(Message("number", 1))
    log.sequence()
    assert payloads(api.get(f"{TILL}/messages?limit=1")) == [1]


def test_an_answer_is_bounded_by_its_bytes_too(api, orders):
    for number in range(6):
        orders.broadcast(Message("large", str(number) * 250_000))
    notifier.settle()
    assert len(payloads(api.get(f"{TILL}/messages"))) == 4


def test_the_cursor_never_moves_back_nor_past_the_head(api, orders):
    orders.broadcast(Message("number", 1))
    log.sequence()
    head, _ = log.head()
    assert api.post(f"{TILL}/ack", {"position": 2**63 - 1}).json() == {"cursor": cursor()}
    assert api.post(f"{TILL}/ack", {"position": head}).json() == {"cursor": head}
    assert api.post(f"{TILL}/ack", {"position": 0}).json() == {"cursor": head}
    assert cursor() == head


def test_over_the_limit_the_oldest_are_replaced_by_a_reset(api, orders, settings):
    settings.ERIC_SSE = {"MAX_WAITING_MESSAGES": 2}
    for number in range(5):
        orders.broadcast(Message("number", number))
    notifier.settle()
    for _ in range(2):
        first, *others = api.get(f"{TILL}/messages").json()["messages"]
        assert first["type"] == "eric-reset"
        assert [each["payload"] for each in others] == [3, 4]
    api.post(f"{TILL}/ack", {"position": first["position"]})
    assert payloads(api.get(f"{TILL}/messages")) == [3, 4]


def test_an_expired_message_is_not_read(api, orders):
    for number in range(3):
        orders.broadcast(Message("number", number), expires_in_s=60)
    notifier.settle()
    QueuedMessage.objects.filter(payload__in=["0", "2"]).update(expires_at=timezone.now())
    assert payloads(api.get(f"{TILL}/messages?limit=1")) == [1]
    assert api.post(f"{TILL}/pop").json()["payload"] == 1
    assert api.post(f"{TILL}/pop").status_code == 204


@pytest.mark.parametrize("position", [-1, 2**63, "1", None, 1.5])
def test_a_wrong_position_is_refused(api, position):
    problem(api.post(f"{TILL}/ack", {"position": position}), 422, "body.position")


def test_the_queue_of_a_stopped_listener_is_a_conflict(api, till):
    till.stop()
    problem(api.post(f"{TILL}/pop"), 409, "listener_id")
    problem(api.get(f"{TILL}/messages"), 409, "listener_id")
    assert api.post(f"{TILL}/ack", {"position": 0}).status_code == 200


@pytest.mark.parametrize("limit", ["0", "101", "x"])
def test_a_wrong_limit_is_refused(api, limit):
    problem(api.get(f"{TILL}/messages?limit={limit}"), 422, "query.limit")


def test_a_superuser_cannot_read_the_queue_of_another_user(root, till):
    problem(root.post(f"{TILL}/pop"), 404, "listener_id")
    problem(root.get(f"{TILL}/messages"), 404, "listener_id")
    problem(root.post(f"{TILL}/ack", {"position": 1}), 404, "listener_id")
