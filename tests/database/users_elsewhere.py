"""
The app in another database than users: what holds in one, holds in two.

Not collected by itself: tests/live/test_users_elsewhere.py runs it, and others, on pairs of
databases that begin empty, where ERIC_SSE_TEST_USERS names the one of the users.
"""

import logging
import threading
from contextlib import contextmanager, suppress

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import OperationalError, connections, transaction

from eric_sse_django import log, notifier
from eric_sse_django.authorization import revocation
from eric_sse_django.database import orphans
from eric_sse_django.exception import InvalidListenerException, StreamEnded
from eric_sse_django.message import Message
from eric_sse_django.models import ApiToken, Listener, PublishReceipt
from eric_sse_django.shortcuts import channel as get_channel
from eric_sse_django.shortcuts import listen, publish
from tests.contract import PATIENCE_S, count, rest, take

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def ada(database):
    return User.objects.create_user("ada", password="secret")


@pytest.fixture
def away(database, monkeypatch):
    """Return an event: while it is set, the log's database fails."""
    is_away = threading.Event()
    wrapper = type(connections[database])
    connect = wrapper.get_new_connection

    def refuse(self, *args, **options):
        if is_away.is_set() and self.alias == database:
            raise OperationalError("away")
        return connect(self, *args, **options)

    monkeypatch.setattr(wrapper, "get_new_connection", refuse)

    def go():
        notifier.flush()
        is_away.set()
        for connection in connections.all(initialized_only=True):
            if connection.alias == database:
                connection.close()

    go.back = is_away.clear
    return go


@contextmanager
def rolled_back(alias):
    with transaction.atomic(using=alias):
        yield
        transaction.set_rollback(True, using=alias)


def of_users(keys):
    return [
        model.objects.filter(**{f"{column}__in": keys}).count()
        for model, column in ((Listener, "owner"), (ApiToken, "user"), (PublishReceipt, "user"))
    ]


def own_something(user):
    listener = listen(get_channel("orders"), owner=user)
    ApiToken.objects.issue(user, "till")
    PublishReceipt.objects.create(user=user, key=f"k{user.pk}", request="r", answer="{}")
    return listener


def test_the_tables_are_where_they_belong(database):
    users = get_user_model()._meta.db_table
    here = connections[database].introspection.table_names()
    there = connections["users"].introspection.table_names()
    assert Listener._meta.db_table in here
    assert Listener._meta.db_table not in there
    assert users in there
    assert users not in here


def test_check_finds_nothing(database, capsys):
    call_command("check", databases=["users", database], fail_level="WARNING")


def test_messages_to_an_owner_reach_the_owners_listeners(ada):
    listener = listen(get_channel("orders"), owner=ada)
    publish("orders", "paid", 7, owner=ada)
    assert get_channel("orders").deliver_next(listener.id).payload == 7


def test_the_owner_is_found_where_users_are(ada):
    listen(get_channel("orders"), owner=ada)
    [row] = Listener.objects.all()
    assert row.owner == ada
    [row] = Listener.objects.prefetch_related("owner")
    assert row.owner == ada


def test_a_token_has_its_user(ada):
    _, secret = ApiToken.objects.issue(ada, "till")
    assert ApiToken.objects.of_secret(secret).user == ada


def test_deleting_a_user_removes_what_the_user_owned(ada):
    bob = User.objects.create(username="bob")
    own_something(ada)
    own_something(bob)
    key = ada.pk
    ada.delete()
    assert of_users([key]) == [0, 0, 0]
    assert of_users([bob.pk]) == [1, 1, 1]


async def test_deleting_a_user_ends_the_streams_of_the_users_listeners(database, call):
    ada = await call(User.objects.create_user, "ada")
    listener = await call(own_something, ada)
    channel = await call(get_channel, "orders")
    stream = channel.message_stream(listener)
    await call(channel.broadcast, count(1))
    assert await take(stream, 1) == [("count", 1)]
    await call(ada.delete)
    # Its access is revoked first, and then its listener is removed: either may be seen.
    with suppress(StreamEnded):
        [(kind, _text)] = await rest(stream)
        assert kind == "error"
    assert not await Listener.objects.aexists()


def test_a_rollback_keeps_what_the_user_owned(ada):
    own_something(ada)
    key = ada.pk
    with rolled_back("users"):
        ada.delete()
    assert of_users([key]) == [1, 1, 1]


def test_a_rollback_to_a_savepoint_keeps_what_that_user_owned(ada):
    bob = User.objects.create(username="bob")
    own_something(ada)
    own_something(bob)
    keys = ada.pk, bob.pk
    with transaction.atomic(using="users"):
        ada.delete()
        with rolled_back("users"):
            bob.delete()
    assert of_users([keys[0]]) == [0, 0, 0]
    assert of_users([keys[1]]) == [1, 1, 1]


def test_many_users_are_deleted_in_few_statements(database, django_assert_max_num_queries):
    users = [User(username=f"u{number}") for number in range(50)]
    User.objects.bulk_create(users)
    for user in User.objects.all():
        listen(get_channel("orders"), owner=user)
    with django_assert_max_num_queries(20, connection=connections[database]):
        User.objects.all().delete()
    assert not Listener.objects.exists()


def test_users_are_saved_deleted_and_logged_out_while_the_log_is_unavailable(
    ada, away, client, caplog
):
    own_something(ada)
    key = ada.pk
    client.force_login(ada)
    away()
    with caplog.at_level(logging.CRITICAL):
        ada.is_active = False
        ada.save()
        client.logout()
        ada.delete()
    assert not User.objects.exists()
    away.back()
    assert soon_true(lambda: of_users([key]) == [0, 0, 0])
    retries = revocation.retries
    assert soon_true(lambda: retries.waiting() == 0 and not retries.is_failing())


def soon_true(condition):
    """Wait for a condition that a thread makes true."""
    turn = threading.Event()
    for _ in range(int(PATIENCE_S / 0.05)):
        if condition():
            return True
        turn.wait(0.05)
    return False


def test_a_trim_removes_what_deleted_users_owned(ada):
    own_something(ada)
    User.objects.all()._raw_delete("users")  # as another program does, without signals
    assert of_users([ada.pk]) == [1, 1, 1]
    call_command("eric_trim", verbosity=0)
    assert of_users([ada.pk]) == [0, 0, 0]


def test_a_deleted_user_owns_nothing_and_has_no_access_to_the_api(ada, client, settings):
    settings.ROOT_URLCONF = "tests.api.urls"
    root = User.objects.create_superuser("root")
    listener = listen(get_channel("orders"), owner=ada).row
    secrets = [ApiToken.objects.issue(user, "till")[1] for user in (ada, root)]

    def status(secret):
        path = f"/api/channels/orders/listeners/{listener.name}"
        return client.get(path, headers={"Authorization": f"Bearer {secret}"}).status_code

    assert [status(secret) for secret in secrets] == [200, 200]
    User.objects.filter(pk=ada.pk)._raw_delete("users")
    assert [status(secret) for secret in secrets] == [401, 200]
    assert Listener.objects.get(pk=listener.pk).owner is None


def test_a_trim_keeps_what_users_own(ada):
    own_something(ada)
    assert orphans.remove_orphans() == 0
    assert of_users([ada.pk]) == [1, 1, 1]


def test_a_publish_commits_with_the_transaction_of_the_log(ada):
    """Not with that of the users: a rollback there does not take it back."""
    orders = get_channel("orders")
    listener = listen(orders, owner=ada)
    with rolled_back("users"):
        publish("orders", "paid", 1)
    with rolled_back(log.database()):
        publish("orders", "paid", 2)
    publish("orders", "paid", 3)
    assert [orders.deliver_next(listener.id).payload for _ in range(2)] == [1, 3]


def test_a_listener_without_owner_needs_no_user(database):
    orders = get_channel("orders")
    listener = orders.add_listener()
    listener.start()
    orders.dispatch(listener.id, Message("count", 1))
    assert orders.deliver_next(listener.id).payload == 1
    orders.remove_listener(listener.id)
    with pytest.raises(InvalidListenerException):
        orders.get_listener(listener.id)


def test_the_admin_finds_listeners_by_their_owner(ada, client):
    listen(get_channel("orders"), owner=ada)
    listen(get_channel("orders"), owner=User.objects.create(username="bob"))
    client.force_login(User.objects.create_superuser("root"))
    page = client.get("/admin/eric_sse_django/listener/?q=ada").content.decode()
    assert f"user-{ada.pk}" in page
    assert "1 listener" in page
