"""The rate limit of a token, while the cache is unavailable."""

import logging

import pytest
from django.core.cache.backends.locmem import LocMemCache

from eric_sse_django.api import rate
from eric_sse_django.models import PublishReceipt, QueuedMessage
from eric_sse_django.outage import Outage
from tests.api.conftest import problem

pytestmark = pytest.mark.django_db

BROADCAST = "channels/orders/broadcast"


class FailingCache(LocMemCache):
    """A cache whose server is down, until `is_up` is set."""

    is_up = False

    def add(self, *args, **options):
        if not FailingCache.is_up:
            raise ConnectionRefusedError("10.0.0.7:6379")  # as a client library raises it
        return super().add(*args, **options)


@pytest.fixture
def failing(settings, monkeypatch):
    settings.CACHES = {"default": {"BACKEND": f"{__name__}.FailingCache"}}
    settings.ERIC_SSE = {"API_RATE_PER_MINUTE": 3}
    monkeypatch.setattr(FailingCache, "is_up", False)
    monkeypatch.setattr(rate, "_outage", Outage(rate.logger, "counting"))
    return FailingCache


def publish(api, **headers):
    return api.post(BROADCAST, {"type": "a"}, **headers)


def test_nothing_is_published_while_the_cache_is_unavailable(failing, publisher, orders):
    answer = publish(publisher, Idempotency_Key="1")
    assert "10.0.0.7" not in str(problem(answer, 503))
    assert 1 <= int(answer["Retry-After"]) <= 5
    assert not QueuedMessage.objects.exists()
    assert not PublishReceipt.objects.exists()


def test_begin_and_end_of_the_outage_are_logged_once(failing, publisher, orders, caplog):
    caplog.set_level(logging.WARNING, rate.logger.name)
    for _ in range(3):
        problem(publish(publisher, Idempotency_Key="1"), 503)
    failing.is_up = True
    for _ in range(2):
        assert publish(publisher, Idempotency_Key="1").status_code == 202
    assert publish(publisher).status_code == 202
    ours = [record for record in caplog.records if record.name == rate.logger.name]
    assert [record.levelname for record in ours] == ["ERROR", "WARNING"]
    assert "10.0.0.7" in caplog.text
    assert QueuedMessage.objects.count() == 2


def test_without_a_rate_the_cache_is_not_used(failing, settings, publisher, orders):
    settings.ERIC_SSE = {}
    assert publish(publisher).status_code == 202
