"""What the lists show and find."""

from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone

from eric_sse_django import log, reports
from eric_sse_django.admin.formatting import MAX_COUNT, age, at_least, bounded, duration
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.message import Message
from eric_sse_django.models import Channel, Listener, QueuedMessage, ServerProcess, Watchers
from tests.admin.conftest import settle
from tests.admin.pages import text, url


def names(response):
    return [row.name for row in response.context["cl"].result_list]


def positions(response):
    return [row.position for row in response.context["cl"].result_list]


def make_old(minutes):
    moment = timezone.now() - timedelta(minutes=minutes)
    QueuedMessage.objects.using(log.database()).update(created_at=moment)


def test_depths_count_messages_of_each_address_and_no_control_messages(channel, listener, staff):
    ada = get_user_model().objects.create_user("ada")
    hers = channel.add_listener(ada, "phone-1").row
    channel.broadcast(Message("paid", 1))
    channel.dispatch("till-7", Message("paid", 2))
    channel.dispatch_to_owner(ada, Message("paid", 3))
    channel.dispatch_to_owner(ada, Message("paid", 4))
    DatabaseChannel.create("other").broadcast(Message("paid", 5))
    settle()
    log.append([log.control(listener, "eric-close")])
    settle()
    depths = reports.depths([listener, hers])
    assert {pk: depth.waiting for pk, depth in depths.items()} == {listener.pk: 2, hers.pk: 3}
    assert abs(depths[hers.pk].oldest - timezone.now()) < timedelta(minutes=1)
    Listener.objects.update(cursor=log.head()[0])
    empty = reports.depths(Listener.objects.all())
    assert set(empty.values()) == {reports.Depth(0, None)}


def test_depths_stop_counting(channel, listener):
    channel.broadcast_many(Message("paid", number) for number in range(5))
    channel.dispatch("till-7", Message("paid", 2))
    settle()
    assert reports.depths([listener], most=3)[listener.pk].waiting == 4
    assert reports.depths([], most=3) == {}


def test_depths_of_more_ranges_than_one_statement_takes(channel, listener):
    rows = [Listener(pk=number, channel=channel.row, cursor=number) for number in range(1_000)]
    assert len(reports.depths(rows)) == 1_000


def test_the_list_shows_open_streams_and_waiting_messages(staff, channel, listener, open_stream):
    open_stream(listener, "web-1:7")
    open_stream(listener, "web-1:7")
    open_stream(channel.add_listener(listener_id="gone").row, "web-9:9", age_s=50)
    channel.broadcast(Message("paid", 1))
    settle()
    make_old(minutes=5)
    shown = text(staff().get(url("listener")))
    assert "2 streams" in shown
    assert "web-1:7" in shown
    assert "web-9:9" not in shown
    assert "5\xa0min ago" in shown


def test_a_listener_with_an_open_stream_is_seen_now(staff, listener, open_stream):
    open_stream(listener)
    assert '<td class="field-seen">now</td>' in text(staff().get(url("listener")))


def test_presence_is_available_to_programs_too(channel, listener, open_stream):
    assert not listener.is_online
    assert channel.online() == []
    open_stream(listener)
    assert listener.is_online
    assert [online.id for online in channel.online()] == ["till-7"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("online=yes", ["a"]),
        ("online=no", ["b", "c"]),
        ("running=yes", ["a", "b"]),
        ("running=no", ["c"]),
        ("lagging=yes", ["b"]),
        ("lagging=yes&q=b", ["b"]),
        ("lagging=yes&online=yes", []),
        ("channel=orders", ["a", "b"]),
        ("channel=none", []),
        ("served=client", ["b"]),
        ("served=sent", ["a", "c"]),
        ("q=a", ["a"]),
        ("q=second", ["c"]),
        ("q=ada", ["c"]),
        ("q=A%25", []),
    ],
)
def test_listeners_are_filtered_and_found(staff, channel, open_stream, query, found):
    a, b = (channel.add_listener(listener_id=name).row for name in "ab")
    owner = get_user_model().objects.create_user("ada")
    DatabaseChannel.create("second").add_listener(owner, "c")
    open_stream(a)
    channel.broadcast(Message("paid", 1))
    settle()
    make_old(minutes=2)
    Listener.objects.filter(name__in="ab").update(running=True)
    Listener.objects.filter(pk=a.pk).update(cursor=log.head()[0])
    Listener.objects.filter(pk=b.pk).update(acknowledgement="client")
    assert b.cursor == 0
    response = staff().get(f"{url('listener')}?{query}")
    assert names(response) == found


def test_a_young_message_does_not_lag(staff, channel, listener):
    channel.broadcast(Message("paid", 1))
    settle()
    assert names(staff().get(f"{url('listener')}?lagging=yes")) == []


def test_counting_stops_and_the_page_shows_it(staff, channel, listener):
    Listener.objects.bulk_create(
        Listener(channel=channel.row, name=str(number)) for number in range(MAX_COUNT)
    )
    shown = text(staff().get(url("listener")))
    assert "There are more rows: counting and paging stop at 1000." in shown
    assert "1000 listeners" in shown


def test_channels_show_listeners_and_traffic(staff, channel, listener, open_stream):
    channel.add_listener()
    open_stream(listener)
    open_stream(listener)
    quiet = Channel.objects.create(name="quiet", retention_s=3_600)
    channel.broadcast_many(Message("paid", number) for number in range(3))
    settle()
    make_old(minutes=90)
    channel.broadcast(Message("paid", 4))
    channel.dispatch("till-7", Message("paid", 5))
    settle()
    log.append([log.control(listener, "eric-close")])
    settle()
    rows = staff().get(url("channel")).context["cl"].result_list
    counts = {row.name: row._counts for row in rows}
    seen = counts["orders"]
    assert (seen.online, seen.listeners, seen.hour, seen.day) == (1, 2, "2", "5")
    seen = counts["quiet"]
    assert (seen.online, seen.listeners, seen.hour, seen.day) == (0, 0, "0", "0")
    assert "1 hour" in text(staff().get(url("channel")))
    assert "7 days (default)" in text(staff().get(url("channel")))
    assert quiet.name in text(staff().get(f"{url('channel')}?q=qui"))


def test_traffic_shows_when_it_did_not_read_all(channel):
    channel.broadcast_many(Message("paid", number) for number in range(4))
    settle()
    short = reports.recent_traffic(most=3)
    assert (short.hour[channel.row.pk], short.hour_stops, short.day_stops) == (3, True, True)
    make_old(minutes=90)
    short = reports.recent_traffic(most=3)
    assert (short.hour[channel.row.pk], short.hour_stops, short.day_stops) == (0, False, True)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [4, 3, 2, 1]),
        ("channel=orders", [4, 3, 1]),
        ("type=note", [2]),
        ("type=not", []),
        ("type=paid&channel=orders", [4, 3, 1]),
        ("q=3", [3]),
        ("q=till-7", [3]),
        ("q=till", []),
        ("q=99999999999999999999999999", []),
        ("q=²", []),
    ],
)
def test_messages_are_filtered_and_found(staff, channel, listener, query, found):
    channel.broadcast(Message("paid", 1))
    DatabaseChannel.create("second").broadcast(Message("note", 2))
    channel.dispatch("till-7", Message("paid", 3))
    channel.broadcast(Message("paid", 4))
    settle()
    first = QueuedMessage.objects.order_by("position").first().position
    if query in ("q=3",):
        query = f"q={first + 2}"
    response = staff().get(f"{url('queuedmessage')}?{query}")
    assert [position - first + 1 for position in positions(response)] == found


def test_messages_without_a_position_are_pending(staff, channel):
    log.append([log.row(channel.row, Message("paid", 1))])
    shown = text(staff().get(url("queuedmessage")))
    assert "pending" in shown
    assert "Published messages without a position: 1." in shown
    assert shown.count("pending") >= 1


def test_messages_show_how_many_listeners_have_been_served(staff, channel, listener):
    ada = get_user_model().objects.create_user("ada")
    channel.add_listener(ada, "phone-1")
    channel.broadcast(Message("paid", 1))
    channel.dispatch("till-7", Message("paid", 2))
    channel.dispatch_to_owner(ada, Message("paid", 3))
    settle()
    late = channel.add_listener(listener_id="late")
    assert late.row.start > 0
    for row in Listener.objects.filter(name="till-7"):
        row.cursor = log.head()[0]
        row.save(update_fields=["cursor"])
    client = staff()
    response = client.get(url("queuedmessage"))
    found = [row._counts for row in response.context["cl"].result_list]
    assert [(count.delivered, count.addressed) for count in found] == [(0, 1), (1, 1), (1, 2)]
    for row, shown in zip(
        response.context["cl"].result_list, ("0 of 1", "1 of 1", "1 of 2"), strict=True
    ):
        assert shown in text(client.get(url("queuedmessage", "change", row.pk)))


def test_numbers_and_times_are_formatted():
    assert [bounded(number) for number in (0, 1_000, 1_001)] == ["0", "1,000", "1,000+"]
    assert at_least(5, True) == "5+"
    lengths = [duration(seconds) for seconds in (1, 119, 120, 3_600, 5_400, 86_400, 604_800)]
    assert lengths == [
        "1 second",
        "119 seconds",
        "2 minutes",
        "1 hour",
        "90 minutes",
        "1 day",
        "7 days",
    ]
    assert age(None) == "-"


def test_payloads_of_any_language_are_shown_and_found_in_readable_form(staff, channel, listener):
    channel.broadcast(Message("paid", {"greeting": "grüße aus München", "from": "日本"}))
    channel.broadcast(Message("paid", "a backslash: \\u00fc"))
    channel.broadcast(Message("note", "München" * 30))
    settle()
    client = staff()
    first = QueuedMessage.objects.order_by("position").first().position
    listed = text(client.get(url("queuedmessage")))
    assert "grüße aus München" in listed
    assert "日本" in listed
    assert "\\\\u00fc" in listed  # the payload's own backslash
    assert "grüße aus München" in text(client.get(url("listener", "change", listener.pk)))
    for term, found in (
        ("grüße", [0]),
        ("München", [2, 0]),
        ("日本", [0]),
        ("paid", [1, 0]),
        ('"from"', []),
        ("nowhere", []),
    ):
        response = client.get(url("queuedmessage"), {"q": term})
        assert [position - first for position in positions(response)] == found, term


def test_a_preview_cut_within_an_escape_is_still_text(channel):
    stored = '"' + "\\u00fc" * 100 + '"'
    for length in range(1, 30):
        assert set(reports.readable(stored[:length], 80, is_cut=True)[0]) <= {'"', "ü"}
    assert reports.readable("\\ud83d\\ude00\\ud800\\u0000", 80) == ("😀\\ud800\\u0000", False)
    assert reports.readable(stored, 80) == ('"' + "ü" * 79, True)


def test_channels_show_how_many_streams_watch_them(staff, channel, listener, open_stream):
    open_stream(listener, "web-1:7")
    open_stream(listener, "web-2:7")
    open_stream(listener, "dead:7", age_s=50)
    for server in ServerProcess.objects.all():
        Watchers.objects.create(process=server, channel=channel.row, streams=3)
    row = staff().get(url("channel")).context["cl"].result_list[0]
    assert (row._counts.online, row._counts.watchers) == (1, 6)
    page = text(staff().get(url("channel", "change", channel.row.pk)))
    assert "Watchers online" in page
