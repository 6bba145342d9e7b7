"""The operations on listeners: their permissions, messages, and entries in the history."""

import json
from datetime import timedelta

import pytest

from eric_sse_django import log
from eric_sse_django.admin.formatting import MAX_COUNT
from eric_sse_django.admin.operations import BY_NAME, OPERATIONS
from eric_sse_django.authorization import make_ticket, read_ticket
from eric_sse_django.entry import CLOSE, REPLAY, REVOKE, STOP
from eric_sse_django.exception import NoMessagesException
from eric_sse_django.message import Message
from eric_sse_django.models import Listener, QueuedMessage
from tests.admin.conftest import settle
from tests.admin.pages import act, history, shown_messages, text, url
from tests.tickets import is_void

NAMES = [operation.name for operation in OPERATIONS]
MESSAGES = {
    "start": "2 listeners started.",
    "stop": "1 listener stopped: its streams end, and new messages wait. "
    "The others needed no change.",
    "disconnect": "2 listeners disconnected: their streams end on every server.",
    "revoke": "Access to 2 listeners revoked: their streams end on every server, and tickets "
    "issued until now are no longer valid.",
    "replay": "2 listeners get the messages of the last hour again.",
    "discard": "Waiting messages of 2 listeners discarded.",
}
HISTORY = {
    "start": "Started.",
    "stop": "Stopped.",
    "disconnect": "Disconnected.",
    "revoke": "Revoked access.",
    "replay": "Replayed the last hour.",
    "discard": "Discarded the waiting messages.",
}
CONTROLS = {
    "stop": [STOP] * 2,
    "disconnect": [CLOSE] * 2,
    "revoke": [REVOKE],
    "replay": [REPLAY] * 2,
}


@pytest.fixture
def rows(channel, listener):
    """Return a running listener and a stopped one, each with a waiting message."""
    other = channel.add_listener(listener_id="till-8").row
    channel.broadcast(Message("paid", 1))
    settle()
    return [listener, other]


def controls():
    rows = QueuedMessage.objects.using(log.database()).order_by("id")
    return [row.type for row in rows if row.type.startswith("eric-")]


@pytest.mark.parametrize("name", NAMES)
def test_an_action_shows_a_count_and_is_in_the_history(staff, rows, name):
    if name == "start":
        Listener.objects.update(running=False)
    response = act(staff("operate_listener"), name, rows)
    assert shown_messages(response) == [MESSAGES[name]]
    assert [history(row) for row in rows] == [[HISTORY[name]]] * 2
    assert controls() == CONTROLS.get(name, [])


@pytest.mark.parametrize("name", [*NAMES, "send"])
def test_an_action_needs_its_permission(staff, rows, name):
    missing = "operate_listener" if name == "send" else "publish_channel"
    client = staff(missing, "sign_listener")
    assert shown_messages(act(client, name, rows)) == ["No action selected."]
    assert f'value="{name}"' not in text(client.get(url("listener")))
    assert [history(row) for row in rows] == [[], []]
    assert controls() == []
    assert list(Listener.objects.values_list("running", "cursor").order_by("name")) == [
        (row.running, row.cursor) for row in rows
    ]


@pytest.mark.parametrize("name", ["revoke", "replay", "discard"])
def test_an_irreversible_action_is_confirmed_first_without_a_script(staff, rows, name):
    client = staff("operate_listener")
    page = text(client.post(url("listener"), {"action": name, "_selected_action": rows[0].pk}))
    assert str(BY_NAME[name].effect) in page
    assert "till-7 (orders)" in page
    assert "<script" not in page.split('id="eric-confirm"')[1].split("</form>")[0]
    assert [history(row) for row in rows] == [[], []]
    assert controls() == []


def test_stopping_a_stopped_listener_shows_that_none_was_stopped(staff, rows):
    response = act(staff("operate_listener"), "stop", rows[1:])
    assert shown_messages(response) == [
        "0 listeners stopped: their streams end, and new messages wait."
    ]


def test_revoking_voids_the_tickets_of_these_listeners_only(staff, rows, channel):
    other = channel.add_listener(listener_id="till-9").row
    tickets = {row.pk: read_ticket(make_ticket("orders", row.name)) for row in [*rows, other]}
    act(staff("operate_listener"), "revoke", rows)
    voided = [is_void(tickets[row.pk], row) for row in [*rows, other]]
    assert voided == [True, True, False]
    assert not is_void(read_ticket(make_ticket("orders", "till-7")), rows[0])


def test_discarded_messages_are_not_delivered(staff, rows, channel):
    act(staff("operate_listener"), "discard", rows[:1])
    with pytest.raises(NoMessagesException):
        channel.deliver_next("till-7")


@pytest.mark.parametrize("name", NAMES)
def test_a_button_does_the_same_for_one_listener(staff, rows, name):
    client = staff("operate_listener")
    where = url("listener", "operate", rows[0].pk, name)
    page = client.get(where)
    assert str(BY_NAME[name].effect) in text(page)
    assert history(rows[0]) == []
    response = client.post(where)
    assert response["Location"] == url("listener", "change", rows[0].pk)
    assert [history(row) for row in rows] == [[HISTORY[name]], []]


@pytest.mark.parametrize("name", NAMES)
def test_a_button_needs_its_permission(staff, rows, name):
    client = staff("publish_channel", "sign_listener")
    where = url("listener", "operate", rows[0].pk, name)
    assert client.post(where).status_code == 403
    assert where not in text(client.get(url("listener", "change", rows[0].pk)))
    assert history(rows[0]) == []


def test_buttons_need_the_csrf_token(staff, listener):
    client = staff("operate_listener")
    client.handler.enforce_csrf_checks = True
    response = client.post(url("listener", "operate", listener.pk, "stop"))
    assert response.status_code == 403
    assert Listener.objects.get().running


def test_an_unknown_operation_or_listener_does_nothing(staff, listener):
    client = staff("operate_listener")
    for arguments in ([listener.pk, "explode"], [listener.pk + 1, "stop"], ["x", "stop"]):
        assert client.post(url("listener", "operate", *arguments)).status_code == 302
    assert Listener.objects.get().running


def test_an_action_takes_a_bounded_number_of_rows(staff, channel):
    Listener.objects.bulk_create(
        Listener(channel=channel.row, name=str(number), running=True)
        for number in range(MAX_COUNT + 1)
    )
    first = Listener.objects.all()[:1]
    response = act(staff("operate_listener"), "stop", first, select_across="1")
    assert shown_messages(response) == ["Nothing was changed: an action takes at most 1,000 rows."]
    assert not Listener.objects.filter(running=False).exists()


def test_a_message_is_sent_to_each_selected_listener(staff, rows, channel):
    client = staff("publish_channel")
    page = text(act(client, "send", rows))
    assert "till-7 (orders)" in page
    response = act(client, "send", rows, type="note", payload='{"order": 7}')
    assert shown_messages(response) == ["Message sent to 2 listeners."]
    assert [history(row) for row in rows] == [["Sent a message of type “note”."]] * 2
    act(staff("operate_listener"), "start", rows)
    for row in rows:
        assert channel.deliver_next(row.name).type == "paid"
        assert channel.deliver_next(row.name).payload == {"order": 7}


WRONG = {
    "not JSON": ("note", "{order: 7}", "This is not valid JSON: Expecting property name"),
    "NaN": ("note", "NaN", "payload is nan"),
    "too deep": ("note", "[" * 101 + "]" * 101, "more than 100 levels"),
    "far too deep": ("note", "[" * 100_000, "cannot be read as JSON"),
    "a huge number": ("note", "9" * 5_000, "cannot be read as JSON"),
    "too long": ("note", json.dumps("x" * 300_000), "262144 are allowed"),
    "no type": ("", "1", "This field is required."),
    "a reserved type": ("eric-stop", "1", "which is reserved for this app"),
    "a type of two lines": ("a\nb", "1", "which breaks the stream"),
    "a long type": ("a" * 256, "1", "at most 255 characters"),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("page", ["send", "broadcast"])
def test_an_invalid_message_changes_nothing_and_the_page_shows_why(staff, listener, wrong, page):
    type, payload, reason = WRONG[wrong]
    row = listener if page == "send" else listener.channel
    where = url("listener" if page == "send" else "channel", page, row.pk)
    response = staff("publish_channel").post(where, {"type": type, "payload": payload})
    assert reason in text(response)
    assert "aria-invalid" in text(response)
    assert not QueuedMessage.objects.exists()
    assert history(row) == []


@pytest.mark.parametrize("page", ["send", "broadcast"])
def test_a_message_may_have_a_lifetime(staff, listener, page):
    row = listener if page == "send" else listener.channel
    where = url("listener" if page == "send" else "channel", page, row.pk)
    client, data = staff("publish_channel"), {"type": "note", "payload": ""}
    assert "greater than or equal to 1" in text(client.post(where, {**data, "expires_in_s": "0"}))
    assert not QueuedMessage.objects.exists()
    client.post(where, {**data, "expires_in_s": "30"})
    sent = QueuedMessage.objects.get()
    assert (sent.perishable, sent.expires_at - sent.created_at) == (True, timedelta(seconds=30))


def test_broadcasting_needs_its_permission_and_is_in_the_history(staff, listener, channel):
    where = url("channel", "broadcast", channel.row.pk)
    data = {"type": "note", "payload": ""}
    assert staff("operate_listener").post(where, data).status_code == 403
    response = staff("publish_channel").post(where, data)
    assert shown_messages(response) == ["Message broadcast to “orders”."]
    assert history(channel.row) == ["Broadcast a message of type “note”."]
    assert channel.deliver_next("till-7").payload is None


def test_a_stream_url_is_shown_once_and_not_stored(staff, listener):
    client = staff("sign_listener")
    where = url("listener", "stream_url", listener.pk)
    assert "/events/" not in text(client.get(where))
    assert history(listener) == []
    response = client.post(where)
    assert "/events/orders/till-7/?ticket=" in text(response)
    assert "no-store" in response["Cache-Control"]
    assert history(listener) == ["Created a signed stream URL."]
    assert staff("operate_listener", "publish_channel").post(where).status_code == 403
