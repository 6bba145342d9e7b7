"""What a view calls: publish, listen, and the URLs of streams with their tickets."""

import math
import time
from datetime import timedelta
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from django.core import signing
from django.urls import set_script_prefix

from eric_sse_django import shortcuts
from eric_sse_django.authorization import InvalidTicket, Ticket, make_ticket, read_ticket
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.exception import (
    EricError,
    InvalidChannelException,
    InvalidIdentifier,
    NoMessagesException,
)
from eric_sse_django.models import Channel
from eric_sse_django.shortcuts import listen, publish, stream_url, watch_url
from tests import databases
from tests.tickets import ids_of

once = databases.rolled_back


@pytest.fixture
def ana(database, django_user_model):
    return django_user_model.objects.create(username="ana")


class TestPublish:
    @once
    def test_publish_addresses_all_one_listener_or_a_users_listeners(self, channel, ana):
        listeners = [
            channel.add_listener(owner, name)
            for name, owner in {"phone": ana, "till": None, "screen": None}.items()
        ]
        publish("orders", "to", "all")
        publish("orders", "to", "one", listener_id="till")
        publish("orders", "to", "owner", owner=ana)
        got = {}
        for listener in listeners:
            listener.start()
            got[listener.id] = []
            while True:
                try:
                    got[listener.id].append(channel.deliver_next(listener.id).payload)
                except NoMessagesException:
                    break
        assert got == {"phone": ["all", "owner"], "till": ["all", "one"], "screen": ["all"]}

    @once
    def test_publish_refuses_two_addresses(self, channel, ana):
        with pytest.raises(ValueError, match="not both"):
            publish("orders", "to", listener_id="till", owner=ana)

    @once
    def test_a_channel_is_created_when_it_is_first_used(self, database):
        assert shortcuts.channel("notes", format="text").row.format == "text"
        assert shortcuts.channel("notes").row.format == "text"
        assert Channel.objects.count() == 1


class TestListen:
    @once
    def test_it_runs_and_is_the_same_for_one_owner(self, channel, ana):
        first = listen("orders", ana)
        assert first.is_running()
        assert first.id == f"user-{ana.pk}"
        first.stop()
        assert listen("orders", ana).row.pk == first.row.pk
        assert channel.get_listener(first.id).is_running()

    @once
    def test_without_owner_and_id_each_is_new(self, channel):
        assert listen("orders").id != listen("orders").id

    @once
    def test_a_device_keeps_its_listener(self, channel, ana):
        assert listen("orders", ana, "phone").id == "phone"
        assert listen("orders", ana, "phone").row.owner == ana

    @once
    def test_a_listener_of_another_user_is_refused(self, channel, ana, django_user_model):
        listen("orders", ana, "phone")
        with pytest.raises(InvalidIdentifier):
            listen("orders", django_user_model.objects.create(username="bob"), "phone")

    @once
    def test_a_missing_channel_is_an_error(self, database):
        with pytest.raises(InvalidChannelException):
            listen("orders")


class TestURLs:
    @pytest.fixture
    def listener(self, database):
        return DatabaseChannel.create("a:b@c").add_listener(listener_id="+till~7")

    @databases.sqlite_rolled_back
    def test_urls_lead_to_the_stream(self, listener):
        assert unquote(stream_url(listener)) == "/events/a:b@c/+till~7/"
        assert urlsplit(unquote(watch_url("a:b@c"))).path == "/events/a:b@c/"

    @databases.sqlite_rolled_back
    def test_urls_begin_with_the_prefixes(self, listener, settings):
        settings.ERIC_SSE = {"URL_PREFIX": "sse/v1/"}
        set_script_prefix("/shop/")
        try:
            assert stream_url(listener).startswith("/shop/sse/v1/a")
        finally:
            set_script_prefix("/")

    @databases.sqlite_rolled_back
    def test_a_ticket_in_them_opens_just_that(self, listener):
        for url, ids in (
            (stream_url(listener, ticket=True), ("a:b@c", "+till~7")),
            (watch_url("a:b@c"), ("a:b@c", None)),
        ):
            [text] = parse_qs(urlsplit(url).query)["ticket"]
            ticket = read_ticket(text)
            assert ids_of(ticket) == ids
            assert ids_of(ticket) != ("a:b@c", "other")


@pytest.mark.django_db
class TestTickets:
    def test_a_ticket_names_what_it_opens_and_until_when(self, settings):
        settings.ERIC_SSE = {"TICKET_MAX_AGE_S": 60}
        ticket = read_ticket(make_ticket("orders", "till-7"))
        assert ticket == Ticket("orders", "till-7", ticket.expires_at, ticket.issued_at)
        watching = read_ticket(make_ticket("orders", since=7))
        assert (watching.listener, watching.since) == (None, 7)
        assert ticket.expires_at == pytest.approx(time.time() + 60, abs=5)
        longer = read_ticket(make_ticket("orders", max_age_s=600))
        assert longer.expires_at == pytest.approx(time.time() + 600, abs=5)

    def test_a_ticket_for_a_listener_does_not_open_its_channel_nor_the_reverse(self):
        assert ids_of(read_ticket(make_ticket("orders", "till-7"))) != ("orders", None)
        assert ids_of(read_ticket(make_ticket("orders"))) != ("orders", "till-7")

    def test_an_expired_one_is_refused(self):
        with pytest.raises(InvalidTicket, match="has expired"):
            read_ticket(make_ticket("orders", max_age_s=-1))

    @pytest.mark.parametrize("age", [math.nan, True, "60", timedelta(hours=1)], ids=repr)
    def test_an_age_that_is_not_a_number_is_refused(self, age):
        with pytest.raises(ValueError, match="max_age_s is"):
            make_ticket("orders", max_age_s=age)

    def test_none_is_valid_for_more_than_a_year(self):
        ticket = read_ticket(make_ticket("orders", max_age_s=math.inf))
        assert ticket.expires_at == pytest.approx(time.time() + 365 * 86_400, abs=5)

    def test_a_changed_one_is_refused(self):
        text = make_ticket("orders", "till-7")
        for place in range(len(text)):
            changed = text[:place] + ("B" if text[place] == "A" else "A") + text[place + 1 :]
            with pytest.raises(InvalidTicket):
                read_ticket(changed)

    @pytest.mark.parametrize(
        "text", ["", ":", "::", "a:b:c", "\0", "é:é:é", "\ud800", "x" * 10_000, "." * 50]
    )
    def test_nonsense_is_refused(self, text):
        with pytest.raises(InvalidTicket):
            read_ticket(text)

    def test_a_value_that_the_project_signed_for_another_purpose_is_refused(self):
        until = time.time() + 60
        for salt in ("django.core.signing", "other"):
            with pytest.raises(InvalidTicket):
                read_ticket(signing.dumps(["orders", "till-7", until], salt=salt))

    def test_a_key_that_was_changed_stays_valid_as_a_fallback(self, settings):
        text = make_ticket("orders")
        old, settings.SECRET_KEY = settings.SECRET_KEY, "another"
        with pytest.raises(InvalidTicket):
            read_ticket(text)
        settings.SECRET_KEY_FALLBACKS = [old]
        assert ids_of(read_ticket(text)) == ("orders", None)
        assert ids_of(read_ticket(make_ticket("orders"))) == ("orders", None)

    def test_its_error_is_one_of_the_packages(self):
        assert issubclass(InvalidTicket, EricError)
