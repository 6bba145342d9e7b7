"""What an operator does to listeners."""

from collections import UserDict
from datetime import timedelta

import pytest
from django.utils import timezone

from eric_sse_django import log
from eric_sse_django.database import DatabaseChannel, operations
from eric_sse_django.entry import CLOSE, REPLAY, REVOKE, STOP
from eric_sse_django.exception import NoMessagesException
from eric_sse_django.log import retention
from eric_sse_django.message import Message, UniqueMessage
from eric_sse_django.models import Listener, QueuedMessage
from eric_sse_django.shortcuts import listen


@pytest.fixture
def channel(database):
    return DatabaseChannel.create("orders")


@pytest.fixture
def listener(channel):
    listener = channel.add_listener(listener_id="till-7")
    listener.start()
    return listener


def controls():
    rows = QueuedMessage.objects.order_by("id")
    return [row.type for row in rows if row.type.startswith("eric-")]


def settle():
    while log.sequence():
        pass


def row(listener):
    rows = Listener.objects.select_related("channel")
    return rows.get(pk=listener.row.pk)


def test_start_and_stop_return_the_number_of_changed_listeners(channel, listener):
    other = channel.add_listener()
    rows = [row(listener), row(other)]
    assert operations.start(rows) == 1
    assert operations.stop(rows) == 2
    assert operations.stop(rows) == 0
    assert not row(listener).running


def test_control_messages_are_not_delivered(channel, listener):
    operations.disconnect([row(listener)])
    operations.stop([row(listener)])
    operations.start([row(listener)])
    assert controls() == [CLOSE, STOP]
    channel.broadcast(Message("paid", 1))
    assert channel.deliver_next("till-7").payload == 1


def test_discard_skips_what_waits_for_that_listener_only(channel, listener):
    other = channel.add_listener()
    other.start()
    channel.broadcast(Message("paid", 1))
    assert operations.discard([row(listener)]) == 1
    assert operations.discard([row(listener)]) == 0
    with pytest.raises(NoMessagesException):
        channel.deliver_next("till-7")
    assert channel.deliver_next(other.id).payload == 1


def test_replay_gives_again_what_was_published_since(channel, listener):
    for number in range(5):
        channel.broadcast(Message("paid", number))
    settle()
    rows = QueuedMessage.objects.order_by("position")
    now = timezone.now()
    for age, message in zip((90, 70, 50, 30, 10), rows, strict=True):
        message.created_at = now - timedelta(minutes=age)
        message.save(update_fields=["created_at"])
    assert [channel.deliver_next("till-7").payload for _ in range(5)] == [0, 1, 2, 3, 4]
    assert operations.replay([row(listener)], now - timedelta(hours=1)) == 1
    assert controls() == [REPLAY]
    assert [channel.deliver_next("till-7").payload for _ in range(3)] == [2, 3, 4]
    with pytest.raises(NoMessagesException):
        channel.deliver_next("till-7")


def test_replay_never_goes_before_the_listener_was_added(channel):
    channel.broadcast(Message("paid", 0))
    late = channel.add_listener()
    late.start()
    operations.replay([row(late)], timezone.now() - timedelta(hours=1))
    with pytest.raises(NoMessagesException):
        channel.deliver_next(late.id)


def test_an_empty_log_has_a_position_for_every_time(database):
    assert log.position_at(timezone.now()) == log.head()[0]


def test_streams_of_a_deleted_listener_get_a_control_message(channel, listener):
    row(listener).delete()
    assert controls() == [STOP]


def test_streams_of_a_deleted_channel_get_control_messages(channel, listener):
    channel.broadcast(Message("paid", 0))
    row(listener).channel.delete()
    assert sorted(controls()) == [REVOKE, STOP]  # its listeners' streams, and those of watchers
    assert QueuedMessage.objects.count() == 2


def test_a_visitor_who_is_not_logged_in_can_own_nothing(channel):
    from django.contrib.auth.models import AnonymousUser

    with pytest.raises(ValueError, match="log in"):
        listen("orders", owner=AnonymousUser())
    with pytest.raises(ValueError, match="log in"):
        channel.dispatch_to_owner(AnonymousUser(), Message("paid", 1))


def test_what_gets_its_position_while_its_channel_is_removed_begins_no_history(
    channel, database, monkeypatch, no_notifier
):
    log.append([log.row(channel.row, Message("paid", number)) for number in range(3)])
    note, readers = retention.note_removed, []

    def sequence_first(positions):
        settle()  # what was listed without a position
        readers.append(log.follow())
        note(positions)

    monkeypatch.setattr(retention, "note_removed", sequence_first)
    assert log.forget(channel.row.pk) == 3
    assert not QueuedMessage.objects.exists()
    other = DatabaseChannel.create("other")
    log.append([log.row(other.row, Message("paid", 4))])
    settle()
    looks = [log.look(known, None, 10) for known in readers]
    assert [(look.is_same, len(look.entries)) for look in looks] == [(True, 1)] * len(readers)


class Counted(UserDict[str, int]):
    """A payload that counts how often it is encoded."""

    encoded = 0

    def keys(self):
        self.encoded += 1
        return super().keys()


def test_a_message_to_many_is_encoded_once(channel, database):
    typing = DatabaseChannel.create("typing", retention_s=600, expires_in_s=60)
    names = [*[(channel, f"till-{number}") for number in range(3)], (typing, "ana")]
    listeners = [each.add_listener(listener_id=name) for each, name in names]
    payload = Counted(id=7)
    message = UniqueMessage(Message("paid", payload), "shop", "m-1")
    assert operations.send([row(each) for each in listeners], message) == 4
    assert payload.encoded == 1
    sent = QueuedMessage.objects.order_by("id")
    assert [each.listener_id for each in sent] == [each.row.pk for each in listeners]
    assert [each.channel_id for each in sent] == [each.row.pk for each, _ in names]
    assert [each.perishable for each in sent] == [False, False, False, True]
    assert (sent[3].expires_at - sent[3].created_at).total_seconds() == 60
    fields = sent.values_list("type", "payload", "sender", "uid")
    assert set(fields) == {("paid", '{"id":7}', "shop", "m-1")}
