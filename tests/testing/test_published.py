"""captured(), assert_published() and the factory, in a transaction that is never committed."""

from decimal import Decimal

import pytest
from django.contrib.auth import get_user_model
from django.db import transaction
from django.test import TestCase

from eric_sse_django.database.operations import away
from eric_sse_django.exception import NoMessagesException
from eric_sse_django.message import UniqueMessage
from eric_sse_django.models import Listener
from eric_sse_django.shortcuts import apublish, channel, publish
from eric_sse_django.testing import (
    Published,
    aassert_not_published,
    aassert_published,
    amake_listener,
    apublished,
    assert_not_published,
    assert_published,
    captured,
    fake_clock,
    make_listener,
    published,
)


class PublishedTest(TestCase):
    def setUp(self):
        self.listener = make_listener("orders", listener_id="one")
        self.ann = get_user_model().objects.create(username="ann")

    def test_a_block_captures_what_it_publishes_to_a_channel(self):
        channel("news")
        publish("orders", "before")
        with captured("orders") as messages:
            publish("orders", "paid", {"id": 7}, expires_in_s=60)
            publish("news", "n")
            assert len(messages) == 1
            publish("orders", "secret", listener_id=self.listener)
        publish("orders", "after")
        assert messages == [
            Published("orders", "paid", {"id": 7}, lifetime_s=60.0),
            Published("orders", "secret", None, listener="one"),
        ]
        assert [each.type for each in messages[1:]] == ["secret"]
        assert "secret" in repr(messages)

    def test_a_block_captures_all_channels(self):
        channel("news")
        with captured() as messages:
            publish("news", "n")
            publish("orders", "n", owner=self.ann)
        assert [(each.channel, each.owner) for each in messages] == [
            ("news", None),
            ("orders", self.ann.pk),
        ]

    def test_what_was_rolled_back_was_not_published(self):
        with captured() as messages:
            with pytest.raises(ZeroDivisionError), transaction.atomic():
                publish("orders", "n", 1 / (publish("orders", "n") or 0))
            publish("orders", "kept")
        assert [each.type for each in messages] == ["kept"]

    def test_controls_are_not_messages(self):
        with captured() as messages:
            self.listener.stop()
        assert list(messages) == []

    def test_messages_match_by_type_payload_and_recipient(self):
        publish("orders", "paid", {"id": 7, "sum": Decimal("1.50")})
        publish("orders", "paid", {"id": 8}, owner=self.ann)
        assert_published("orders")
        assert_published("orders", "paid", count=2)
        assert_published("orders", "paid", {"id": 7, "sum": Decimal("1.50")}, owner=None)
        assert_published(channel("orders"), payload=lambda payload: payload["id"] == 8)
        [message] = assert_published("orders", owner=self.ann)
        assert message.payload == {"id": 8}
        assert_not_published("orders", "secret")
        assert_not_published("orders", "paid", listener=self.listener)
        assert_not_published("orders", payload=object())

    def test_a_failure_shows_what_was_published(self):
        with pytest.raises(AssertionError, match=r"none published to 'orders'(.|\n)*nothing"):
            assert_published("orders", "paid")
        publish("orders", "paid", {"id": 7}, listener_id=self.listener)
        with pytest.raises(AssertionError) as failed:
            assert_published("orders", "paid", count=2)
        line = "  orders: 'paid' {\"id\": 7} to listener 'one'"
        assert str(failed.value).splitlines()[1:] == [line]
        with pytest.raises(AssertionError, match="1 published to 'orders'"):
            assert_not_published("orders")

    def test_a_signed_message_has_its_sender_and_id(self):
        message = UniqueMessage(message_of(), "me", "m1")
        with captured() as messages:
            channel("orders").broadcast(message)
        assert (messages[0].sender, messages[0].id) == ("me", "m1")

    async def test_coroutines(self):
        listener = await amake_listener("orders")
        async with captured("orders") as messages:
            await apublish("orders", "n", 1)
        assert [each.payload for each in messages] == [1]
        await aassert_published("orders", "n", 1, count=1)
        await aassert_not_published("orders", listener=listener)
        assert len(await apublished("orders")) == 1

    def test_a_listener_is_made_with_what_waits(self):
        listener = make_listener("news", self.ann, waiting=[1, ("paid", 2)])
        news = channel("news")
        messages = [news.deliver_next(listener.id) for _ in range(2)]
        assert [(each.type, each.payload) for each in messages] == [("message", 1), ("paid", 2)]
        assert listener.row.owner == self.ann
        assert not make_listener(running=False).is_running()

    def test_a_listener_that_was_away(self):
        from django.utils import timezone

        late = make_listener("news", away_s=86_400 * 40)
        since = timezone.now() - timezone.timedelta(days=30)
        assert list(away(since, "news")) == [Listener.objects.get(pk=late.row.pk)]

    def test_lifetimes_follow_the_clock(self):
        with fake_clock() as clock:
            publish("orders", "n", 1, expires_in_s=60)
            clock.advance(61)
            with pytest.raises(NoMessagesException):
                channel("orders").deliver_next("one")
            with pytest.raises(ValueError, match="does not go back"):
                clock.advance(-1)
            assert clock.ahead_s == 61


def message_of():
    from eric_sse_django.message import Message

    return Message("n", 1)


def test_the_fixture_returns_what_was_published(published, eric_channel):
    eric_channel("orders")
    publish("orders", "paid", {"id": 7})
    assert published("orders") == published() == [Published("orders", "paid", {"id": 7})]


def test_the_clock_is_the_machines_again_after_the_block():
    import time

    from django.utils import timezone

    before = time.time(), time.monotonic(), timezone.now()
    with fake_clock() as clock:
        clock.advance(1_000)
        assert time.time() - before[0] >= 1_000
        assert time.monotonic() - before[1] >= 1_000
        assert (clock.now() - before[2]).total_seconds() >= 1_000
        assert time.time_ns() / 1e9 - before[0] >= 1_000
        assert isinstance(before[2], timezone.datetime)
    assert time.time() - before[0] < 100
    assert (timezone.now() - before[2]).total_seconds() < 100


def test_published_needs_no_fixture(db):
    assert published() == []
