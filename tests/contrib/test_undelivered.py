"""Undelivered: one signal for each listener and absence, and none for those that are online."""

from datetime import timedelta
from threading import Barrier, Thread

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import connections
from django.utils import timezone

from eric_sse_django import runs
from eric_sse_django.contrib.undelivered.models import Absence
from eric_sse_django.contrib.undelivered.notifying import notify
from eric_sse_django.contrib.undelivered.signals import undelivered
from eric_sse_django.contrib.webhooks.endpoints import register
from eric_sse_django.database import operations
from eric_sse_django.message import Message
from eric_sse_django.models import Listener, OpenStream, QueuedMessage, ServerProcess
from eric_sse_django.shortcuts import publish
from tests.databases import on, sqlite_only
from tests.patience import PATIENCE_S

AFTER = timedelta(minutes=15)


@pytest.fixture
def sent():
    """Return what the signal was sent with."""
    found = []

    def keep(sender, listener, messages, has_more, since, **_):
        found.append((listener, [message.payload for message in messages], has_more, since))

    undelivered.connect(keep)
    yield found
    undelivered.disconnect(keep)


@pytest.fixture
def publish_earlier(channel, listener):
    """Return a function that publishes to the channel as if it were an hour ago."""

    def publish_earlier(payload, **options):
        publish(channel, "paid", payload, **options)
        QueuedMessage.objects.update(created_at=timezone.now() - timedelta(hours=1))

    return publish_earlier


def opens_a_stream(listener):
    now = timezone.now()
    process = ServerProcess.objects.create(name="a:1", started_at=now, renewed_at=now)
    return OpenStream.objects.create(pk=1, process=process, listener=listener.row, opened_at=now)


@on("sqlite", "postgres", "mariadb")
def test_the_signal_has_the_listener_with_its_messages(channel, listener, publish_earlier, sent):
    ada = get_user_model().objects.create_user("ada")
    Listener.objects.update(owner=ada)
    publish_earlier(1)
    publish_earlier(2, owner=ada)
    publish_earlier(3, listener_id=listener)
    assert notify(AFTER) == 1
    [(found, payloads, has_more, since)] = sent
    assert (found.name, found.channel.name, found.owner) == ("till-7", "orders", ada)
    assert payloads == [1, 2, 3]
    assert not has_more
    assert timezone.now() - since > AFTER


@on("sqlite", "postgres", "mariadb")
def test_no_one_is_notified_of_a_run_or_a_webhook(channel, listener, publish_earlier, sent):
    ada = get_user_model().objects.create_user("ada")
    run = runs.start(ada, channel=channel)
    endpoint = register(channel, "https://shop.example/", owner=ada)
    publish_earlier(1, listener_id=run.listener.name)
    publish_earlier(2, listener_id=endpoint.listener.name)
    assert notify(AFTER) == 0
    publish_earlier(3)
    assert notify(AFTER) == 1
    assert sent[0][0].name == listener.id


@on("sqlite", "postgres", "mariadb")
def test_it_is_sent_once_for_each_absence(channel, listener, publish_earlier, sent):
    publish_earlier(1)
    assert notify(AFTER) == 1
    publish_earlier(2)
    assert notify(AFTER) == 0
    channel.deliver_next(listener.id)  # it is online again, and then away
    channel.deliver_next(listener.id)
    assert notify(AFTER) == 0
    publish_earlier(3)
    assert notify(AFTER) == 1
    assert [payloads for _, payloads, *_ in sent] == [[1], [3]]


@sqlite_only
def test_a_message_that_is_not_old_enough_is_no_absence(channel, listener, sent):
    publish(channel, "paid", 1)
    assert notify(AFTER) == 0
    assert notify(timedelta(0)) == 1


@sqlite_only
def test_a_listener_that_is_online_or_stopped_is_not_absent(
    channel, listener, publish_earlier, sent
):
    publish_earlier(1)
    stream = opens_a_stream(listener)
    assert notify(AFTER) == 0
    stream.delete()
    listener.stop()
    assert notify(AFTER) == 0
    listener.start()
    assert notify(AFTER) == 1


@sqlite_only
def test_a_stream_of_a_process_that_was_killed_does_not_count(
    channel, listener, publish_earlier, sent
):
    publish_earlier(1)
    opens_a_stream(listener)
    ServerProcess.objects.update(renewed_at=timezone.now() - timedelta(minutes=5))
    assert notify(AFTER) == 1


@sqlite_only
def test_a_listener_that_has_received_all_is_not_absent(channel, listener, publish_earlier, sent):
    other = channel.add_listener(listener_id="other")
    other.start()
    publish_earlier(1, listener_id=other)
    operations.send_control([listener.row], "eric-close")
    publish_earlier(2, listener_id=other)
    assert notify(AFTER) == 1
    assert [found.name for found, *_ in sent] == ["other"]


@sqlite_only
def test_more_messages_than_a_signal_has_are_announced(channel, listener, publish_earlier, sent):
    channel.broadcast_many(Message("paid", number) for number in range(30))
    publish_earlier(30)
    assert notify(AFTER) == 1
    [(_, payloads, has_more, _)] = sent
    assert payloads == list(range(20))
    assert has_more


@sqlite_only
def test_an_expired_message_is_no_reason(channel, listener, publish_earlier, sent):
    publish_earlier(1, expires_in_s=5)
    QueuedMessage.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert notify(AFTER) == 0


@sqlite_only
def test_if_all_receivers_fail_it_is_sent_again(channel, listener, publish_earlier, caplog):
    publish_earlier("secret")
    attempts = []

    def fails(**_):
        attempts.append(1)
        raise OSError("no mail server")

    undelivered.connect(fails)
    try:
        assert notify(AFTER) == 0
        assert notify(AFTER) == 0
        assert len(attempts) == 2
        assert "no mail server" in caplog.text
        assert "secret" not in caplog.text
        works = lambda **_: None  # noqa: E731
        undelivered.connect(works)
        assert notify(AFTER) == 1
        assert notify(AFTER) == 0
    finally:
        undelivered.disconnect(fails)
        undelivered.disconnect(works)


@on("sqlite", "postgres", "mariadb")
def test_of_two_passes_at_the_same_time_one_sends_it(
    channel, listener, publish_earlier, sent, monkeypatch
):
    publish_earlier(1)
    barrier, counts = Barrier(2, timeout=PATIENCE_S), []
    monkeypatch.setattr(Listener, "is_online", property(lambda self: bool(barrier.wait() < 0)))

    def run():
        try:
            counts.append(notify(AFTER))
        finally:
            connections.close_all()

    threads = [Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert sorted(counts) == [0, 1]
    assert len(sent) == 1


@sqlite_only
def test_the_command_sends_it(channel, listener, publish_earlier, sent, capsys):
    publish_earlier(1)
    call_command("eric_undelivered", after="15m", channel="orders")
    assert "for 1 listeners" in capsys.readouterr().out
    assert Absence.objects.count() == 1
    channel.remove_listener(listener.id)
    assert not Absence.objects.exists()


@sqlite_only
def test_the_command_refuses_what_cannot_work(channel, sent):
    for options, text in (
        ({"after": "soon"}, "'soon'"),
        ({"after": "0m"}, "'0m'"),
        ({"after": "999999d"}, "more than"),
        ({"after": "15m", "channel": "unknown"}, "'unknown'"),
    ):
        with pytest.raises(CommandError, match=text):
            call_command("eric_undelivered", **options)


@sqlite_only
def test_the_command_fails_without_a_receiver(channel):
    with pytest.raises(CommandError, match="connect a receiver"):
        call_command("eric_undelivered", after="15m")
