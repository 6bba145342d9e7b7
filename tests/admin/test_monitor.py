"""The live monitor: its permission, and its numbers compared with the database."""

import json
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.contrib.auth import get_user_model
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from eric_sse_django import conf, log, notifier
from eric_sse_django.authorization import monitor_visitor
from eric_sse_django.database import operations
from eric_sse_django.message import Message
from eric_sse_django.models import ServerProcess
from eric_sse_django.monitor import PATH, snapshot
from eric_sse_django.monitor.snapshot import DeliveryCount, Observer, Rates
from tests.admin.conftest import settle
from tests.admin.pages import text
from tests.databases import sqlite_only

HOSTILE = "</script><script>document.title = 'owned'</script>"
URL = "/admin/eric_sse_django/monitor/"


def renew(delivered=0, **facts):
    """Renew all leases, one second later, with `delivered` more messages delivered."""
    for row in ServerProcess.objects.all():
        row.renewed_at += timedelta(seconds=1)
        row.delivered += delivered
        for name, value in facts.items():
            setattr(row, name, value)
        row.save()


# Its permission ------------------------------------------------------------------


@pytest.mark.parametrize(("permissions", "status"), [((), 403), (("view_monitor",), 200)])
@sqlite_only
def test_the_page_is_for_staff_with_the_permission(staff, permissions, status):
    assert reverse("admin:eric_sse_django_monitor") == URL
    assert staff(*permissions, views=()).get(URL).status_code == status


@sqlite_only
def test_the_page_redirects_an_anonymous_user_to_the_login(database):
    assert Client().get(URL).status_code == 302


@sqlite_only
def test_the_page_names_its_stream_and_has_nothing_inline(superuser):
    page = text(superuser.get(URL))
    assert f'data-events="/{conf.get("URL_PREFIX")}{PATH}"' in page
    assert " style=" not in page
    assert " onclick=" not in page
    assert "<style" not in page
    ours = page.count("<script src=") + page.count('<script type="module" src=')
    assert page.count("<script") == ours + page.count('type="application/json"')


@sqlite_only
def test_the_index_links_to_it_for_staff_with_the_permission(staff):
    index = reverse("admin:index")
    assert URL in text(staff("view_monitor").get(index))
    assert URL not in text(staff().get(index))


def session_key(client):
    return client.cookies["sessionid"].value


def test_the_stream_is_for_staff_with_the_permission(database, staff, superuser):
    assert not monitor_visitor(None)
    assert not monitor_visitor("forged")
    assert not monitor_visitor(session_key(staff()))
    allowed = staff("view_monitor", views=())
    assert monitor_visitor(session_key(allowed))
    assert monitor_visitor(session_key(superuser))
    for lost in ({"is_staff": False}, {"is_staff": True, "is_active": False}):
        get_user_model().objects.filter(pk=allowed.user.pk).update(**lost)
        assert not monitor_visitor(session_key(allowed))


@pytest.fixture
def clock(monkeypatch):
    """Return a function that moves the observer's clock forward."""
    now = [1_000.0]
    monkeypatch.setattr(snapshot, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def advance(seconds):
        now[0] += seconds

    return advance


# Its numbers ---------------------------------------------------------------------


def test_a_snapshot_counts_what_was_published_since_the_last(channel):
    channel.broadcast(Message("before", 0))
    settle()
    observer = Observer()
    first = observer.take()
    assert [message["type"] for message in first["messages"]] == ["before"]
    assert (first["published_per_s"], first["delivered_per_s"], first["skipped"]) == (
        None,
        None,
        0,
    )
    channel.broadcast_many([Message("price", number) for number in range(60)])
    settle()
    second = observer.take()
    assert second["published_per_s"] > 0
    assert not second["published_is_least"]
    assert second["skipped"] == 10
    assert [message["payload"] for message in second["messages"]] == [
        str(number) for number in range(10, 60)
    ]
    third = observer.take()
    assert (third["messages"], third["published_per_s"], third["skipped"]) == ([], 0, 0)


def test_a_message_is_shown_with_names_and_the_beginning_of_its_payload(channel, listener):
    owner = get_user_model().objects.create_user("ann")
    channel.broadcast(Message("long", "x" * 2_000))
    channel.dispatch("till-7", Message("to one", HOSTILE))
    channel.dispatch_to_owner(owner, Message("to an owner", None))
    operations.disconnect([listener])  # a control message is not shown
    settle()
    long, one, owned = Observer().take()["messages"]
    assert (len(long["payload"]), long["is_cut"]) == (snapshot.PAYLOAD_CHARACTERS, True)
    assert (long["channel"], long["listener"], long["owner"]) == ("orders", None, None)
    assert (one["listener"], one["payload"], one["is_cut"]) == (
        "till-7",
        json.dumps(HOSTILE),
        False,
    )
    assert (owned["owner"], owned["type"]) == ("ann", "to an owner")
    assert one["position"] > long["position"]


@pytest.fixture
def no_grace(monkeypatch):
    monkeypatch.setattr(snapshot, "_served_in_s", lambda: 0.0)


def test_what_is_served_and_not_written_yet_does_not_wait(settings):
    settings.ERIC_SSE = {"CURSOR_WRITE_S": 30.0}
    assert snapshot._served_in_s() > 30.0


@pytest.mark.usefixtures("no_grace")
def test_messages_that_wait_for_listeners_that_are_online_are_counted(
    channel, listener, open_stream
):
    ann = get_user_model().objects.create_user("ann")
    phone, laptop = (channel.add_listener(ann).row for _ in range(2))
    settle()
    for row in (listener, phone, laptop):
        open_stream(row)
    channel.add_listener(listener_id="away")
    channel.broadcast(Message("to all", 1))  # waits for three
    channel.dispatch_to_owner(ann, Message("to two", 2))  # for two
    channel.dispatch("till-7", Message("to one", 3))  # for one
    channel.dispatch("away", Message("to an absent listener", 4))
    operations.disconnect([listener])
    settle()
    notifier.flush()  # else it may give a position to the last message too
    observer = Observer()
    assert observer.take()["waiting"] is None  # not known for how long it has waited
    facts = observer.take()
    assert (facts["waiting"], facts["waiting_is_least"]) == (6, False)
    log.append([log.row(channel.row, Message("without a position yet", 5))])
    assert observer.take()["waiting"] == 7


def test_a_message_published_just_now_does_not_count_as_waiting(
    channel, listener, open_stream, clock
):
    open_stream(listener)
    settle()
    observer = Observer()
    observer.take()
    clock(2)
    channel.broadcast(Message("fresh", 1))
    settle()
    assert observer.take()["waiting"] == 0
    clock(1)
    assert observer.take()["waiting"] == 0
    clock(2)
    assert observer.take()["waiting"] == 1


@pytest.mark.usefixtures("no_grace")
def test_counting_stops_at_a_maximum_and_the_snapshot_shows_it(
    channel, listener, open_stream, monkeypatch
):
    monkeypatch.setattr(snapshot, "MAX_WAITING", 5)
    monkeypatch.setattr(snapshot, "MAX_PUBLISHED", 5)
    open_stream(listener)
    settle()
    observer = Observer()
    observer.take()
    channel.broadcast_many([Message("price", number) for number in range(6)])
    settle()
    assert observer.take()["published_is_least"]
    facts = observer.take()
    assert (facts["waiting"], facts["waiting_is_least"]) == (5, True)


def test_deliveries_and_delays_are_those_of_the_live_processes(listener, open_stream):
    open_stream(listener, "web-1:7")
    open_stream(listener, "web-2:7")
    open_stream(listener, "dead:1", age_s=120)
    observer = Observer()
    assert [process["name"] for process in observer.take()["processes"]] == ["web-1:7", "web-2:7"]
    renew(delivered=20, delay_p50_ms=4, delay_p99_ms=9)
    ServerProcess.objects.filter(name="web-2:7").update(delay_p50_ms=8, delay_p99_ms=30, streams=7)
    facts = observer.take()
    assert (facts["delivered_per_s"], facts["streams"]) == (40, 7)
    assert (facts["delay_p50_ms"], facts["delay_p99_ms"]) == (6, 30)
    assert len(facts["open_streams"]) == 2
    assert facts["open_streams"][0]["listener"] == "till-7"


def test_a_process_that_no_longer_renews_its_count_has_a_rate_of_0():
    rates, began = Rates(), timezone.now()

    def rate(written_s, delivered, now):
        renewed_at = began + timedelta(seconds=written_s)
        return rates.update(1, DeliveryCount(began, renewed_at, delivered), now)

    assert rate(1, 40, 0) == 40  # it is young: that was in its first second
    assert rate(2, 90, 1) == 50
    assert rate(2, 90, 2) == 50  # its next renewal is due
    assert rate(2, 90, 4) == 0
    assert rate(16, 100, 16) == 10  # it had nothing to deliver for 14 s, and then did
    assert rate(16.02, 101, 16.5) == 1  # a stream opened, so it wrote at once


def test_a_snapshot_takes_eight_queries_at_most(database, channel, listener, open_stream):
    owners = [get_user_model().objects.create_user(f"user-{number}") for number in range(3)]
    for number in range(120):
        row = channel.add_listener(owners[number % 3], f"desk-{number}").row
        open_stream(row, f"web-{number % 4}:1")
        if number % 10 == 0:
            channel.broadcast(Message("price", number))
    observer = Observer()
    with CaptureQueriesContext(connections[database]) as queries:
        observer.take()
    assert len(queries) <= 8  # two of them for the names of owners
    channel.broadcast(Message("last", 0))
    settle()
    with CaptureQueriesContext(connections[database]) as queries:
        facts = observer.take()
    assert len(queries) <= 8  # two of them for the names of owners
    assert len(facts["open_streams"]) == snapshot.MAX_STREAMS_SHOWN
    assert log.head()[0] == facts["messages"][-1]["position"]
