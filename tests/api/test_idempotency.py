"""Idempotency keys: a repeated request publishes once."""

from datetime import timedelta
from threading import Barrier

import pytest
from django.db import connections
from django.utils import timezone

from eric_sse_django.api import idempotency
from eric_sse_django.models import PublishReceipt, QueuedMessage
from tests.api.conftest import Api, api_of, problem, user_with
from tests.database.tools import threads

BROADCAST = "channels/orders/broadcast"
BATCH = "channels/orders/messages"
PAID = {"type": "paid", "payload": 7}
AT_ONCE = 6


def count():
    return QueuedMessage.objects.count()


@pytest.mark.django_db
class TestOneAfterTheOther:
    def test_the_second_time_gets_the_first_answer(self, publisher, orders):
        first = publisher.post(BROADCAST, PAID, Idempotency_Key="k")
        again = publisher.post(BROADCAST, PAID, Idempotency_Key="k")
        assert (first.status_code, first.json()) == (again.status_code, again.json())
        assert ("Idempotency-Replayed" in first, again["Idempotency-Replayed"]) == (False, "true")
        assert count() == 1

    def test_keys_differ_by_case_and_by_user(self, publisher, orders):
        other = api_of(user_with("other", "publish_channel"))
        for api, key in [(publisher, "k"), (publisher, "K"), (publisher, "k "), (other, "k")]:
            assert api.post(BROADCAST, PAID, Idempotency_Key=key).status_code == 202
        assert count() in (3, 4)  # a server may take the space off

    def test_without_a_key_each_is_published(self, publisher, orders):
        publisher.post(BROADCAST, PAID)
        publisher.post(BROADCAST, PAID)
        assert count() == 2
        assert not PublishReceipt.objects.exists()

    def test_the_key_of_another_request_is_refused(self, publisher, orders):
        publisher.post(BROADCAST, PAID, Idempotency_Key="k")
        other = publisher.post(BROADCAST, {"type": "sent"}, Idempotency_Key="k")
        problem(other, 422, "Idempotency-Key")
        elsewhere = publisher.post(BATCH, {"messages": [PAID]}, Idempotency_Key="k")
        problem(elsewhere, 422, "Idempotency-Key")
        assert count() == 1

    def test_a_refused_request_may_be_sent_again_with_its_key(self, settings, publisher, orders):
        settings.ERIC_SSE = {"MAX_MESSAGE_BYTES": 1, "API_RATE_PER_MINUTE": 1}
        large = {"type": "a", "payload": 77}
        problem(publisher.post(BROADCAST, large, Idempotency_Key="k"), 413, "message 0")
        assert publisher.post(BROADCAST, PAID, Idempotency_Key="k").status_code == 202
        problem(publisher.post(BROADCAST, PAID, Idempotency_Key="l"), 429)
        assert publisher.post(BROADCAST, PAID, Idempotency_Key="k").status_code == 202
        assert PublishReceipt.objects.count() == 1

    @pytest.mark.parametrize("key", ["", "x" * 256])
    def test_a_key_of_none_is_refused(self, publisher, orders, key):
        answer = publisher.post(BROADCAST, PAID, Idempotency_Key=key)
        problem(answer, 422, "header.Idempotency-Key")

    def test_expired_receipts_are_removed(self, publisher, orders, settings, monkeypatch):
        publisher.post(BROADCAST, PAID, Idempotency_Key="old")
        PublishReceipt.objects.update(created_at=timezone.now() - timedelta(seconds=86_401))
        publisher.post(BROADCAST, PAID, Idempotency_Key="new")
        assert idempotency.trim() == 1
        assert idempotency.trim() == 0
        assert publisher.post(BROADCAST, PAID, Idempotency_Key="new").status_code == 202
        assert count() == 2


@pytest.mark.parametrize("in_transaction", [False, True], ids=["plain", "ATOMIC_REQUESTS"])
def test_two_at_once_publish_once(database, monkeypatch, in_transaction, publisher, orders):
    monkeypatch.setitem(connections.settings[database], "ATOMIC_REQUESTS", in_transaction)
    barrier = Barrier(AT_ONCE)

    def post():
        api = Api()
        api.headers = publisher.headers
        barrier.wait(20)
        return api.post(BROADCAST, PAID, Idempotency_Key="k")

    for connection in connections.all(initialized_only=True):
        connection.close()
    with threads() as started:
        for _ in range(AT_ONCE):
            started.start(post)
        answers = started.join()
    assert {(each.status_code, each.content) for each in answers} == {(202, answers[0].content)}
    assert sorted("Idempotency-Replayed" in each for each in answers) == [False] + [True] * (
        AT_ONCE - 1
    )
    assert count() == 1


def test_an_error_frees_the_key_for_a_waiting_request(database, monkeypatch, publisher, orders):
    """The first fails after its receipt was inserted: the second publishes."""
    from eric_sse_django.api import publishing

    append_one, failed = publishing.log.append_one, []

    def fail_once(draft):
        if not failed:
            failed.append(True)
            raise RuntimeError("the first fails")
        return append_one(draft)

    monkeypatch.setattr(publishing.log, "append_one", fail_once)
    publisher.client.raise_request_exception = False
    problem(publisher.post(BROADCAST, PAID, Idempotency_Key="k"), 500)
    assert publisher.post(BROADCAST, PAID, Idempotency_Key="k").status_code == 202
    assert count() == 1
