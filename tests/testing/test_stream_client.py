"""StreamClient: the project's application in the test's own transaction, without a thread."""

import asyncio
import contextlib
import threading
import time

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from django.db import transaction
from django.test import Client, TestCase

from eric_sse_django.shortcuts import (
    apublish,
    awatch_url,
    channel,
    listen,
    publish,
    stream_url,
    watch_url,
)
from eric_sse_django.testing import NoEvent, StreamClient, make_listener
from tests.databases import rolled_back
from tests.patience import PATIENCE_S


class StreamTest(TestCase):
    """The transaction of a TestCase is never committed."""

    def setUp(self):
        self.listener = make_listener("orders", waiting=[1])
        self.url = stream_url(self.listener, ticket=True)

    def test_a_stream_delivers_what_waits_and_what_is_published_later(self):
        with StreamClient(self.url) as stream:
            assert stream.status == 200
            assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert stream.next().json() == 1
            publish("orders", "paid", {"id": 7})
            event = stream.next()
        assert (event.type, event.json()) == ("paid", {"id": 7})

    def test_no_thread_is_started(self):
        before = set(threading.enumerate())
        with StreamClient(self.url) as stream:
            stream.events(1)
            publish("orders", "n", 2)
            stream.events(1)
        assert set(threading.enumerate()) <= before

    def test_what_is_rolled_back_is_not_delivered(self):
        with StreamClient(self.url) as stream:
            stream.next()
            with pytest.raises(ZeroDivisionError), transaction.atomic():
                publish("orders", "n", 1 / (publish("orders", "n") or 0))
            stream.assert_silent()

    def test_silence_is_an_assertion(self):
        with StreamClient(self.url) as stream, pytest.raises(AssertionError, match="An event"):
            stream.assert_silent()

    def test_an_event_that_does_not_come_fails_with_what_came(self):
        with StreamClient(self.url, timeout_s=0.05) as stream:
            stream.next()
            with pytest.raises(NoEvent, match=r"answered 200, and sent .*data: 1"):
                stream.next()

    def test_it_reconnects_after_the_last_event(self):
        with StreamClient(self.url) as stream:
            first = stream.next()
            assert stream.last_event_id == first.last_event_id
            stream.disconnect()
            publish("orders", "n", 2)
            stream.reconnect()
            assert stream.next().json() == 2

    def test_cursors_and_presence_are_written(self):
        with StreamClient(self.url) as stream:
            stream.next()
            stream.disconnect()
        self.listener.row.refresh_from_db()
        assert self.listener.row.cursor == int(stream.last_event_id)

    def test_two_streams_at_once(self):
        with StreamClient(self.url) as one, StreamClient(watch_url("orders")) as two:
            one.next()
            publish("orders", "n", 2)
            assert [one.next().json(), two.next().json()] == [2, 2]

    def test_a_user_opens_the_stream_of_her_listener(self):
        ann = get_user_model().objects.create(username="ann")
        listener = listen("orders", ann)
        with StreamClient(stream_url(listener)) as stream:
            assert stream.status == 403
            assert stream.ended
        with StreamClient(stream_url(listener), user=ann) as stream:
            assert stream.status == 200
        browser = Client()
        browser.force_login(ann)
        with StreamClient(stream_url(listener), client=browser) as stream:
            assert stream.status == 200

    def test_a_stream_that_the_server_ends(self):
        with StreamClient(self.url) as stream:
            stream.next()
            self.listener.stop()
            stream.wait_for_end()
            for wait in (stream.next, lambda: stream.wait_for_comment(timeout_s=PATIENCE_S)):
                with pytest.raises(NoEvent, match="has ended"):
                    wait()

    def test_an_application_that_hangs_costs_the_timeout(self):
        ends = []

        async def hangs(scope, receive, send):
            while not ends:  # not even the end of the test is one for it
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(PATIENCE_S)

        began = time.monotonic()
        client = StreamClient(self.url, application=hangs, timeout_s=0.1)
        with pytest.raises(NoEvent, match="gave no response"):
            client.open()
        assert time.monotonic() - began < PATIENCE_S / 3
        ends.append(True)

    async def test_a_coroutine_reads_too(self):
        async with StreamClient(await awatch_url("orders")) as stream:
            await apublish("orders", "n", 3)
            assert (await stream.anext()).json() == 3
            await stream.aassert_silent()
            await stream.areconnect()
            await apublish("orders", "n", 4)
            assert [event.json() for event in await stream.aevents(1)] == [4]

    async def test_a_coroutine_that_forgets_the_prefix_is_stopped(self):
        stream = StreamClient(self.url)
        with pytest.raises(SynchronousOnlyOperation, match="async with"):
            stream.open()


async def test_a_coroutine_under_pytest_asyncio(transactional_db):
    await sync_to_async(channel)("orders")
    async with StreamClient(await awatch_url("orders")) as stream:
        await apublish("orders", "n", 3)
        assert (await stream.anext()).json() == 3


def test_heartbeats_and_ages_follow_the_clock(eric_stream, eric_channel, eric_clock):
    eric_channel("orders")
    stream = eric_stream(watch_url("orders"))
    eric_clock.advance(16)
    stream.wait_for_comment()
    eric_clock.advance(3_600)
    stream.wait_for_end()
    assert stream.retry_ms is not None


def test_without_an_application_the_setting_is_named(settings, eric_stream):
    settings.ASGI_APPLICATION = None
    with pytest.raises(ImproperlyConfigured, match="ASGI_APPLICATION is not set"):
        eric_stream("/events/orders/")


@rolled_back
def test_a_transaction_of_each_database_is_streamed(database):
    listener = make_listener("orders", waiting=[1])
    with StreamClient(stream_url(listener, ticket=True)) as stream:
        publish("orders", "n", 2)
        assert [event.json() for event in stream.events(2)] == [1, 2]
        stream.disconnect()
        publish("orders", "n", 3)
        assert stream.reconnect().next().json() == 3
