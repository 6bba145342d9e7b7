"""publish() is one statement, and never into a channel that is another by now."""

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from eric_sse_django import log
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.database import channel as channel_module
from eric_sse_django.database.operations import remove_channel
from eric_sse_django.exception import InvalidChannelException, InvalidListenerException
from eric_sse_django.message import Message
from eric_sse_django.models import Channel, Listener, QueuedMessage
from eric_sse_django.shortcuts import publish
from tests import databases
from tests.database.tools import PATIENCE_S, atomic, roll_back, threads


@pytest.fixture
def statements(database):
    """Return a function that counts the statements of a call."""

    def count(function, *arguments, **options):
        with CaptureQueriesContext(connections[database]) as queries:
            function(*arguments, **options)
        return len(queries)

    return count


@pytest.fixture
def warm(channel, listener, django_user_model):
    """Return a user; the channel was published to, and the log is empty."""
    publish("orders", "warm")
    QueuedMessage.objects.all().delete()
    return django_user_model.objects.create(username="ana")


def rows():
    return QueuedMessage.objects.exclude(type__startswith="eric-")


@databases.rolled_back
def test_publishing_to_any_address_is_one_statement(warm, channel, listener, statements):
    assert statements(publish, "orders", "n", 1) == 1
    assert statements(publish, "orders", "n", 2, owner=warm) == 1
    assert statements(publish, "orders", "n", 3, listener_id=listener.id) == 1
    assert statements(publish, channel, "n", 4, listener_id=listener) == 1
    assert statements(channel.dispatch, listener.id, Message("n", 5)) == 1
    found = rows().order_by("id").values_list("payload", "channel", "listener", "owner")
    to_all, to_one = (channel.row.pk, None, None), (channel.row.pk, listener.row.pk, None)
    assert list(found) == [
        ("1", *to_all),
        ("2", channel.row.pk, None, warm.pk),
        ("3", *to_one),
        ("4", *to_one),
        ("5", *to_one),
    ]


def test_a_channel_that_was_removed_is_an_error(warm, channel, listener):
    Channel.objects.filter(name="orders").delete()
    for to in ({}, {"listener_id": listener.id}, {"owner": warm}):
        with pytest.raises(InvalidChannelException):
            publish("orders", "n", **to)
    with pytest.raises(InvalidChannelException):
        channel.dispatch(listener.id, Message("n"))
    assert not rows().exists()


def test_a_channel_that_was_created_again_gets_the_messages(warm, channel):
    remove_channel(channel.row)
    again = DatabaseChannel.create("orders").add_listener(listener_id="till-7")
    publish("orders", "n", 1)
    publish("orders", "n", 2, listener_id="till-7")
    assert set(rows().values_list("channel", flat=True)) == {again.row.channel.pk}
    assert set(rows().values_list("listener", flat=True)) == {None, again.row.pk}


def test_a_renamed_channel_is_found_only_by_its_new_id(warm, channel):
    known_before = channel.row.pk
    channels = Channel.objects
    channels.filter(pk=known_before).update(name="sales")
    with pytest.raises(InvalidChannelException):
        publish("orders", "n")
    publish("sales", "n", 1)
    assert rows().get().channel_id == known_before
    other = DatabaseChannel.create("orders")  # the id is another channel's now
    publish("orders", "n", 2)
    assert rows().get(payload="2").channel_id == other.row.pk
    channels.filter(pk=other.row.pk).update(name="ORDERS")
    with pytest.raises(InvalidChannelException):
        publish("orders", "n")


def test_a_channel_whose_creation_was_rolled_back_is_an_error(database):
    def create_and_publish():
        DatabaseChannel.create("orders")
        publish("orders", "n")

    roll_back(create_and_publish)
    with pytest.raises(InvalidChannelException):
        publish("orders", "n")
    assert not rows().exists()


def test_a_channels_settings_of_another_process_apply_at_once(warm, channel):
    now = timezone.now()
    for fields, most_s, perishable in (
        ({"retention_s": 60}, 60, False),
        ({"retention_s": 90}, 90, False),
        ({"expires_in_s": 30}, 30, True),
        ({"retention_s": None, "expires_in_s": 40}, 40, True),
        ({"expires_in_s": None}, 7 * 86_400, False),
    ):
        Channel.objects.filter(pk=channel.row.pk).update(**fields)
        publish("orders", "n")
        row = rows().latest("id")
        assert (row.expires_at - now).total_seconds() == pytest.approx(most_s, abs=PATIENCE_S / 2)
        assert row.perishable is perishable


def test_an_unknown_listener_is_an_error_and_a_new_one_is_found(warm, channel, listener):
    for unknown in ("nobody", "a\0b", "a/b", "", listener.id.upper() + "X"):
        with pytest.raises(InvalidListenerException):
            publish("orders", "n", listener_id=unknown)
        with pytest.raises(InvalidListenerException):
            channel.dispatch(unknown, Message("n"))
    channel.add_listener(listener_id="New")
    publish("orders", "n", listener_id="New")
    with pytest.raises(InvalidListenerException):  # MariaDB's collation takes it for "New"
        publish("orders", "n", listener_id="NEW")
    Listener.objects.all().delete()
    with pytest.raises(InvalidListenerException):
        publish("orders", "n", listener_id="New")
    assert rows().count() == 1


def no_row_is_locked(channel, listener):
    def lock():
        with atomic():
            for row in (channel.row, listener.row):
                locked = type(row).objects.select_for_update(nowait=True)
                locked.get(pk=row.pk)

    with atomic():
        publish("orders", "n")
        publish("orders", "n", listener_id=listener.id)
        with threads() as other:
            other.start(lock)
    assert rows().count() == 2


@databases.on("postgres", "mariadb")
def test_it_locks_neither_the_channel_nor_the_listener(warm, channel, listener):
    no_row_is_locked(channel, listener)


@databases.mariadb_only
def test_it_locks_no_row_at_repeatable_read(warm, channel, listener, statements, monkeypatch):
    connection = connections[log.database()]
    options = {**connection.settings_dict["OPTIONS"], "isolation_level": "repeatable read"}
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
    connection.close()
    try:
        no_row_is_locked(channel, listener)
        assert statements(publish, "orders", "n") == 2
        with pytest.raises(InvalidListenerException):
            publish("orders", "n", listener_id="nobody")
    finally:
        monkeypatch.undo()
        connection.close()


@databases.sqlite_rolled_back
def test_as_many_channels_as_are_remembered_and_no_more(database, monkeypatch, statements):
    monkeypatch.setattr(channel_module, "MAX_KNOWN", 2)
    for name in "abc":
        DatabaseChannel.create(name)
        publish(name, "n")
        assert len(channel_module._known) <= 2
    assert statements(publish, "c", "n") == 1
    assert statements(publish, "a", "n") == 2
