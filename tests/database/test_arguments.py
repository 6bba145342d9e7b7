"""The shortcuts take what they return, and name what they need instead of anything else."""

from uuid import UUID

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser, Group
from django.contrib.sessions.backends.db import SessionStore
from django.db import connections
from django.test import RequestFactory

from eric_sse_django import shortcuts
from eric_sse_django.authorization import revoke
from eric_sse_django.database.arguments import id_of_device, id_of_user
from eric_sse_django.exception import InvalidIdentifier, InvalidMessageFormat
from eric_sse_django.message import Message
from eric_sse_django.models import Listener, QueuedMessage, could_be_id
from eric_sse_django.shortcuts import (
    apublish,
    listen,
    publish,
    stream_url,
    streams_url,
    watch_url,
)
from tests import databases

once = databases.sqlite_rolled_back


@pytest.fixture
def ana(database, django_user_model):
    return django_user_model.objects.create(username="ana")


@pytest.fixture
def a_request(ana):
    request = RequestFactory().get("/")
    request.user, request.session = ana, SessionStore()
    return request


class TestAudience:
    """None never widens who gets a message."""

    @pytest.mark.parametrize("name", ["owner", "listener_id"])
    @once
    def test_none_as_recipient_is_refused(self, channel, name):
        with pytest.raises(ValueError, match=f"{name} is None: leave it out to publish to all"):
            publish("orders", "paid", {"id": 7}, **{name: None})
        assert not QueuedMessage.objects.exists()

    @databases.sqlite_only
    async def test_none_as_recipient_is_refused_in_a_coroutine(self, channel):
        for name in ("owner", "listener_id"):
            with pytest.raises(ValueError, match="leave it out to publish to all"):
                await apublish("orders", "paid", **{name: None})

    @once
    def test_a_channels_methods_take_no_none(self, channel):
        with pytest.raises(ValueError, match="None"):
            channel.dispatch_to_owner(None, Message("paid"))
        with pytest.raises(Exception, match="no listener None"):
            channel.dispatch(None, Message("paid"))
        assert not QueuedMessage.objects.exists()

    @once
    def test_an_anonymous_owner_is_refused_with_its_reason(self, channel):
        with pytest.raises(ValueError, match="is not a saved user"):
            publish("orders", "paid", owner=AnonymousUser())


class TestObjects:
    @once
    def test_a_channel_may_be_the_object_its_row_or_its_id(self, channel):
        for each in (channel, channel.row, "orders"):
            publish(each, "n")
            assert listen(each).row.channel == channel.row
            assert watch_url(each).startswith("/events/orders/")
            assert "channel=orders" in streams_url([(each, None)])
        assert QueuedMessage.objects.count() == 3

    @once
    def test_a_listener_may_be_the_object_or_its_row(self, channel, listener):
        for each in (listener, listener.row):
            publish("orders", "n", listener_id=each)
            assert stream_url(each) == f"/events/orders/{listener.id}/"
            assert f"listener={listener.id}" in streams_url([("orders", each)])
        assert QueuedMessage.objects.filter(listener=listener.row).count() == 2

    @once
    def test_an_owner_may_be_a_user_or_a_key(self, channel, ana):
        for each in (ana, ana.pk, str(ana.pk)):
            publish("orders", "n", owner=each)
            assert listen("orders", each).id == f"user-{ana.pk}"
        assert listen("orders", ana).row.owner == ana
        assert QueuedMessage.objects.filter(owner=ana).count() == 3

    @pytest.mark.parametrize(
        ("wrong", "words"),
        [
            (lambda: publish(7, "n"), "7 is not a channel"),
            (lambda: publish(None, "n"), "None is not a channel"),
            (lambda: listen(object()), "is not a channel"),
            (lambda: publish("orders", "n", listener_id=7), "7 is not a listener"),
            (
                lambda: publish("orders", "n", owner="ana"),
                "'ana' is not a user .*, nor the key of",
            ),
            (lambda: revoke(user="ana"), "'ana' is not a user .*, nor the key of"),
            (lambda: revoke(user=Group(pk=1)), "is not a user"),
            (lambda: revoke(channel="orders"), "'orders' is not a channel"),
            (
                lambda: streams_url(["orders"]),  # type: ignore[list-item]
                "'orders' is not a pair: give .channel, listener.",
            ),
            (lambda: streams_url(["ab"]), "'ab' is not a pair"),  # type: ignore[list-item]
            (lambda: publish("orders", "n", owner=True), "True is not a user"),
            (lambda: publish("orders", "n", owner=Group(pk=1)), "is not a user"),
            (lambda: listen("orders", object()), "is not a user"),
            (lambda: stream_url("abc"), "'abc' is not a listener with a channel"),
            (lambda: stream_url(None), "None is not a listener"),
            (lambda: streams_url([("orders", 7)]), "7 is not a listener"),
            (lambda: watch_url(None), "None is not a channel"),
        ],
    )
    @once
    def test_an_argument_of_another_type_is_refused_with_the_types_name(
        self, channel, wrong, words
    ):
        with pytest.raises(TypeError, match=words):
            wrong()
        assert not QueuedMessage.objects.exists()
        assert not Listener.objects.exists()

    @once
    def test_revoking_the_access_of_no_saved_user_is_an_error(self, channel):
        for nobody in (AnonymousUser(), get_user_model()(username="new")):
            with pytest.raises(ValueError, match="is not a saved user: revoke the visitor's"):
                revoke(user=nobody)
        with pytest.raises(ValueError, match="Nothing to revoke, or None"):
            revoke(user=None)
        assert not QueuedMessage.objects.exists()

    @once
    def test_a_value_that_is_not_a_message_is_refused_with_its_types_name(self, channel):
        for wrong, kind in {"secret": "str", None: "NoneType", ("secret",): "tuple"}.items():
            match = rf"it is of type {kind}, not a message; give Message\(type, payload\)"
            with pytest.raises(InvalidMessageFormat, match=match) as refused:
                channel.broadcast(wrong)
            assert "secret" not in str(refused.value)
        assert not QueuedMessage.objects.exists()

    @databases.rolled_back
    def test_a_key_that_belongs_to_no_user_owns_no_listener(self, channel):
        with pytest.raises(ValueError, match="There is no user with the key 4711"):
            listen("orders", 4711)
        connections[channel.row._state.db].check_constraints()


class TestKeys:
    """Every user key has a unique id; a key that is an id is kept."""

    def test_plain_keys_give_the_same_ids_as_before(self):
        for key in (7, UUID(int=7), "a@b.c", "x~y"):
            assert id_of_user(key) == f"user-{key}"

    def test_all_keys_give_valid_and_different_ids(self):
        keys = ["auth0|5f7c1", "auth0~7C5f7c1", "auth0 5f7c1", "é", "~C3~A9", "/", "\0", "x" * 500]
        keys += ["x" * 499, "..", "|", "a b", "a|b", "~", "~~", "a~b|"]
        ids = [id_of_user(key) for key in keys]
        devices = [(user, device) for user in (*keys, None) for device in keys]
        ids += [id_of_device(*pair) for pair in devices]
        assert [each for each in ids if not could_be_id(each)] == []
        assert len(set(ids)) == len(ids)

    @once
    def test_a_user_with_such_a_key_listens(self, channel, ana, monkeypatch):
        monkeypatch.setattr(shortcuts, "owner_key", lambda owner: "auth0|5f7c1")
        assert listen("orders", ana).id == "user~auth0~7C5f7c1"


class TestDevices:
    @once
    def test_each_session_has_its_own(self, channel, ana, a_request):
        first = listen("orders", ana, device=a_request)
        assert listen("orders", ana, device=a_request).id == first.id
        a_request.session.cycle_key()
        assert listen("orders", ana, device=a_request).id == first.id
        a_request.session = SessionStore()
        assert listen("orders", ana, device=a_request).id != first.id
        assert first.row.owner == ana

    @once
    def test_a_visitor_without_a_login_has_one_too(self, channel, a_request):
        assert listen("orders", device=a_request).id == listen("orders", device=a_request).id
        assert Listener.objects.get().owner is None

    @once
    def test_a_device_may_have_a_name(self, channel, ana, django_user_model):
        phone = listen("orders", ana, device="phone")
        assert listen("orders", ana, device="phone").id == phone.id
        bob = django_user_model.objects.create(username="bob")
        assert listen("orders", bob, device="phone").id != phone.id

    @once
    def test_an_invalid_device_is_refused(self, channel, ana):
        with pytest.raises(TypeError, match="has no session"):
            listen("orders", ana, device=RequestFactory().get("/"))
        with pytest.raises(ValueError, match="device is empty"):
            listen("orders", ana, device="")
        with pytest.raises(ValueError, match="not both"):
            listen("orders", ana, "x", device="phone")
        with pytest.raises(InvalidIdentifier):
            listen("orders", ana, "a/b")
