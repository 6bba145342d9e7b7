"""A list makes nine queries at most for staff, whatever the tables hold."""

from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.db import connections
from django.test.utils import CaptureQueriesContext

from eric_sse_django import log
from eric_sse_django.message import Message
from eric_sse_django.models import Channel, Listener
from tests.admin.conftest import settle
from tests.admin.pages import text, url

# The session, the user, and the permissions of the user and of the groups.
OF_DJANGO = 4
ROWS = 110  # more than a page of 100

# It has four more queries: channels, listener, its messages, and the filtered ones.
TEN = "messages of a listener, filtered"
# Queries for one row, and for two pages of rows, which are counted too.
PAGES = {
    "listeners": ("listener", "", 4, 5),
    "listeners by every filter": (
        "listener",
        "?lagging=yes&online=no&running=no&channel=orders&served=sent",
        5,
        5,
    ),
    "listeners searched": ("listener", "?q=orders", 4, 5),
    "lagging listeners searched": ("listener", "?q=orders&lagging=yes", 4, 5),
    "channels": ("channel", "", 4, 5),
    "channels searched": ("channel", "?q=or", 4, 5),
    "messages": ("queuedmessage", "", 4, 5),
    "messages by every filter": ("queuedmessage", "?channel=orders&type=paid", 4, 5),
    "messages of a listener": ("queuedmessage", "?q=till-7", 5, 5),
    TEN: ("queuedmessage", "?q=till-7&type=paid", 5, 6),
    "messages by position": ("queuedmessage", "?q=1", 5, 5),
}


def rows(first, last, channel):
    """Create channels, listeners and messages."""
    owner = get_user_model().objects.get_or_create(username="ada")[0]
    numbers = range(first, last)
    Channel.objects.bulk_create(Channel(name=f"orders-{number}") for number in numbers)
    Listener.objects.bulk_create(
        Listener(channel=channel.row, name=f"x{number}", owner=owner) for number in numbers
    )
    channel.broadcast_many(Message("paid", number) for number in numbers)
    till = Listener.objects.get(name="till-7")
    # Together, because one by one took 3 s.
    log.append([log.row(channel.row, Message("paid", number), till.pk) for number in numbers])
    settle()


@pytest.mark.parametrize("name", PAGES)
def test_a_list_takes_less_than_ten_queries_for_any_number_of_rows(
    staff, channel, listener, open_stream, name, monkeypatch
):
    monkeypatch.setattr("eric_sse_django.admin.filters.LATE_AFTER", -timedelta(hours=1))
    open_stream(channel.add_listener(listener_id="online").row)
    model, query, few, many = PAGES[name]
    client = staff("operate_listener", "publish_channel", "delete_listener", "add_channel")

    def queries():
        with CaptureQueriesContext(connections[log.database()]) as captured:
            response = client.get(url(model) + query)
        assert response.status_code == 200
        return len(captured) - OF_DJANGO, response.context["cl"].result_count

    rows(0, 1, channel)
    client.get(url(model))
    assert queries()[0] == few
    rows(1, ROWS, channel)
    found, count = queries()
    assert found == many
    assert OF_DJANGO + found < 10 or name == TEN
    assert count > 100 or name == "messages by position"


def test_a_listeners_page_takes_less_than_ten_queries(staff, channel, listener, open_stream):
    for number in range(3):
        open_stream(listener, f"web-{number}:7")
    rows(0, 1, channel)
    ContentType.objects.get_for_model(Listener)  # Django keeps it
    client = staff("operate_listener", "publish_channel", "sign_listener")
    with CaptureQueriesContext(connections[log.database()]) as captured:
        shown = text(client.get(url("listener", "change", listener.pk)))
    # The row, its messages (two), its streams, its depth.
    assert len(captured) == OF_DJANGO + 5
    assert "3 streams" in shown
    assert "web-0:7, web-1:7, web-2:7" in shown
