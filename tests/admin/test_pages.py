"""Adding, showing and deleting, with their permissions; and hostile payloads."""

import pytest
from django.contrib.auth import get_user_model
from django.db import connections
from django.test.utils import CaptureQueriesContext

from eric_sse_django import log
from eric_sse_django.authorization import revoke
from eric_sse_django.database import DatabaseChannel, operations
from eric_sse_django.entry import REVOKE, STOP
from eric_sse_django.message import Message, UniqueMessage
from eric_sse_django.models import Channel, Listener, QueuedMessage
from tests.admin.conftest import settle
from tests.admin.pages import act, history, shown_messages, text, url

HOSTILE = "<script>alert('x')</script>"


def test_a_channel_is_created_by_hand_and_keeps_its_id(staff, database):
    client = staff("add_channel", "change_channel")
    wrong = client.post(
        url("channel", "add"), {"name": "a/b", "format": "json", "access": "ticket"}
    )
    assert "Use 1 to 128 of the characters" in text(wrong)
    client.post(
        url("channel", "add"),
        {
            "name": "orders",
            "format": "text",
            "retention_s": "60",
            "expires_in_s": "5",
            "access": "users",
        },
    )
    row = Channel.objects.get()
    assert (row.name, row.format, row.retention_s) == ("orders", "text", 60)
    assert row.expires_in_s == 5
    client.post(
        url("channel", "change", row.pk), {"name": "x", "format": "json", "access": "ticket"}
    )
    row.refresh_from_db()
    assert (row.name, row.format, row.retention_s) == ("orders", "json", None)
    assert len(history(row)) == 2


def test_adding_needs_its_permission(staff, channel):
    client = staff()
    assert client.post(url("channel", "add"), {"name": "a", "format": "json"}).status_code == 403
    data = {"channel": channel.row.pk, "name": "a"}
    assert client.post(url("listener", "add"), data).status_code == 403
    assert Channel.objects.count() == 1
    assert not Listener.objects.exists()


def test_a_listener_added_by_hand_begins_at_the_head(staff, channel):
    channel.broadcast(Message("paid", 1))
    settle()
    ada = get_user_model().objects.create_user("ada")
    client = staff("add_listener")
    data = {"channel": channel.row.pk, "name": "till-7", "owner": ada.pk, "running": "on"}
    assert client.get(url("listener", "add")).status_code == 200
    client.post(url("listener", "add"), data)
    row = Listener.objects.get()
    assert (row.name, row.owner, row.running) == ("till-7", ada, True)
    assert row.start == row.cursor == log.head()[0] > 0
    assert history(row) == ["Added."]
    assert "already exists" in text(client.post(url("listener", "add"), data))
    client.post(url("listener", "add"), {"channel": channel.row.pk, "name": ""})
    assert len(Listener.objects.exclude(pk=row.pk).get().name) == 36


def test_a_listener_added_by_hand_may_be_acknowledged_by_its_client(staff, channel):
    client = staff("add_listener")
    data = {"channel": channel.row.pk, "name": "till-7", "acknowledgement": "client"}
    client.post(url("listener", "add"), data)
    row = Listener.objects.get()
    assert row.acknowledgement == "client"
    assert "when the client acknowledges it" in text(client.get(url("listener", "change", row.pk)))


def test_a_listener_over_the_limit_is_refused_with_a_message(staff, channel, listener, settings):
    settings.ERIC_SSE = {"MAX_LISTENERS_PER_CHANNEL": 1}
    client = staff("add_listener")
    shown = client.post(url("listener", "add"), {"channel": channel.row.pk, "name": "b"})
    assert "The channel has 1 listeners; at most 1 are allowed." in text(shown)
    known = client.post(url("listener", "add"), {"channel": channel.row.pk, "name": "till-7"})
    assert "already exists" in text(known)
    assert Listener.objects.get() == listener


def test_a_listener_is_not_changed_by_hand(staff, listener):
    client = staff("change_listener")
    where = url("listener", "change", listener.pk)
    assert client.post(where, {"name": "x"}).status_code == 403
    assert Listener.objects.get().name == "till-7"


def test_a_listeners_page_shows_waiting_and_delivered_messages_and_streams(
    staff, channel, listener, open_stream
):
    channel.broadcast_many(Message(f"type-{number}", number) for number in range(4))
    settle()
    channel.deliver_next("till-7")
    open_stream(listener, "web-3:5")
    response = staff().get(url("listener", "change", listener.pk))
    assert [row["message"].type for row in response.context["waiting"]] == [
        "type-1",
        "type-2",
        "type-3",
    ]
    assert [row["message"].type for row in response.context["served"]] == ["type-0"]
    assert "web-3:5" in text(response)
    blind = staff(views=["view_listener"]).get(url("listener", "change", listener.pk))
    assert "You do not have permission to view messages." in text(blind)
    assert "type-1" not in text(blind)


def test_the_pages_need_the_view_permission(staff, channel, listener):
    channel.broadcast(Message("paid", 1))
    message = QueuedMessage.objects.get()
    client = staff("operate_listener", "publish_channel", "sign_listener", views=[])
    for model, row in (
        ("listener", listener),
        ("channel", channel.row),
        ("queuedmessage", message),
    ):
        assert client.get(url(model)).status_code == 403
        assert client.get(url(model, "change", row.pk)).status_code == 403
    assert client.post(url("listener", "operate", listener.pk, "stop")).status_code == 403
    assert client.get(url("listener", "send", listener.pk)).status_code == 403
    assert client.post(url("listener", "stream_url", listener.pk)).status_code == 403
    assert client.get(url("channel", "broadcast", channel.row.pk)).status_code == 403


def test_the_log_is_read_only(superuser, channel):
    channel.broadcast(Message("paid", 1))
    row = QueuedMessage.objects.get()
    assert superuser.get(url("queuedmessage", "add")).status_code == 403
    assert superuser.post(url("queuedmessage", "change", row.pk), {}).status_code == 403
    assert superuser.post(url("queuedmessage", "delete", row.pk), {}).status_code == 403
    assert superuser.get(url("queuedmessage", "change", row.pk)).status_code == 200


@pytest.mark.parametrize(
    "payload",
    [
        HOSTILE,
        {HOSTILE: [HOSTILE]},
        "</code></pre><img src=x onerror=alert(1)>",
        "\ud800 a lone surrogate",
        "\u202e right to left",
        "\0 nul",
        [[[[1]]]],
        "x" * 200_000,
        "%s %(a)s {} {{ 1 }} {% now 'Y' %}",
    ],
    ids=range(9),
)
def test_a_hostile_payload_is_shown_as_text(superuser, channel, listener, payload):
    channel.broadcast(UniqueMessage(Message(HOSTILE, payload), HOSTILE, HOSTILE))
    settle()
    row = QueuedMessage.objects.get()
    pages = [
        superuser.get(url("queuedmessage")),
        superuser.get(url("queuedmessage", "change", row.pk)),
        superuser.get(url("listener", "change", listener.pk)),
    ]
    for page in pages:
        assert page.status_code == 200
        source = page.content.decode()
        assert "<script>alert" not in source
        assert "<img src=x" not in source
        assert HOSTILE in text(page)


def test_text_that_is_not_json_is_shown_unchanged(superuser, channel):
    row = log.row(channel.row, Message("paid", 1))
    row.payload = "{broken"
    log.append([row])
    page = superuser.get(url("queuedmessage", "change", QueuedMessage.objects.get().pk))
    assert "{broken" in text(page)


def test_a_message_to_a_deleted_recipient_still_has_a_page(superuser, channel, listener):
    ada = get_user_model().objects.create_user("ada")
    channel.dispatch("till-7", Message("paid", 1))
    channel.dispatch_to_owner(ada, Message("paid", 2))
    listener.delete()
    ada.delete()
    settle()
    assert "a deleted user" in text(superuser.get(url("queuedmessage")))
    for row in QueuedMessage.objects.filter(type="paid"):
        page = superuser.get(url("queuedmessage", "change", row.pk))
        assert "a deleted " in text(page)


def test_a_notice_is_shown_as_addressed_to_every_server(superuser, database):
    revoke(session="a")
    settle()
    row = QueuedMessage.objects.get()
    for page in (url("queuedmessage"), url("queuedmessage", "change", row.pk)):
        assert "every server process" in text(superuser.get(page))


def test_deleting_a_channel_shows_and_deletes_its_listeners_and_messages(staff, channel, listener):
    channel.broadcast_many(Message("paid", number) for number in range(3))
    other = DatabaseChannel.create("other")
    other.broadcast(Message("paid", 1))
    settle()
    client = staff("delete_channel")
    where = url("channel", "delete", channel.row.pk)
    assert staff().post(where, {"post": "yes"}).status_code == 403
    shown = text(client.get(where))
    assert "1 listener<" in shown
    assert "3 messages<" in shown
    assert Channel.objects.count() == 2
    client.post(where, {"post": "yes"})
    assert list(Channel.objects.all()) == [other.row]
    assert not Listener.objects.exists()
    kept = [row.type for row in QueuedMessage.objects.order_by("pk")]
    assert kept == ["paid", STOP, REVOKE]


def test_deleting_a_channel_loads_listeners_in_batches(channel, monkeypatch):
    monkeypatch.setattr(operations, "REMOVED_AT_ONCE", 10)
    Listener.objects.bulk_create(
        Listener(channel=channel.row, name=str(number)) for number in range(25)
    )
    with CaptureQueriesContext(connections[log.database()]) as queries:
        operations.remove_channel(channel.row)
    inserts = [query for query in queries if "INSERT" in query["sql"]]
    assert len(inserts) == 3 + 1  # and the notice for the watchers
    assert QueuedMessage.objects.filter(type=STOP).count() == 25
    assert not Listener.objects.exists()


def test_selected_channels_are_deleted_after_the_same_confirmation(staff, channel, listener):
    channel.broadcast(Message("paid", 1))
    settle()
    data = {"action": "delete_selected", "_selected_action": [channel.row.pk]}
    client = staff("delete_channel")
    assert "1 message<" in text(client.post(url("channel"), data))
    response = client.post(url("channel"), {**data, "post": "yes"})
    assert shown_messages(response) == ["Successfully deleted 1 channel."]
    assert not Channel.objects.exists()


def test_deleting_listeners_ends_their_streams(staff, listener):
    response = act(staff("delete_listener"), "delete_selected", [listener], post="yes")
    assert shown_messages(response) == ["Successfully deleted 1 listener."]
    assert QueuedMessage.objects.get().type == STOP


def test_no_page_has_an_inline_script_or_style(superuser, channel, listener):
    channel.broadcast(Message("paid", 1))
    settle()
    message = QueuedMessage.objects.get()
    pages = [
        superuser.get(url("listener")),
        superuser.get(url("listener", "change", listener.pk)),
        superuser.get(url("listener", "send", listener.pk)),
        superuser.post(url("listener", "stream_url", listener.pk)),
        superuser.get(url("channel")),
        superuser.get(url("channel", "change", channel.row.pk)),
        superuser.get(url("channel", "broadcast", channel.row.pk)),
        superuser.get(url("queuedmessage")),
        superuser.get(url("queuedmessage", "change", message.pk)),
    ]
    for page in pages:
        source = page.content.decode()
        assert page.status_code == 200
        assert "<style" not in source
        assert " style=" not in source
        assert " onclick=" not in source
        assert "<script>" not in source


def test_pages_of_a_missing_object_redirect_to_the_list(superuser, database):
    for page in ("send", "change"):
        assert superuser.get(url("listener", page, 77)).status_code == 302
    assert superuser.post(url("listener", "stream_url", 77)).status_code == 302
    assert superuser.get(url("channel", "broadcast", 77)).status_code == 302
