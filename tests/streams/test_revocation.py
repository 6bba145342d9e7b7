"""Revoking access ends streams, and tickets made before are no longer valid."""

import time

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_out
from django.contrib.sessions.backends.db import SessionStore
from django.core import signing
from django.test import RequestFactory

from eric_sse_django.authorization import arevoke, make_ticket, revoke
from eric_sse_django.authorization.tickets import SALT
from eric_sse_django.models import Listener
from tests.streams.asgi import Response, answer, session_of


@pytest.fixture
async def owner(transactional_db):
    return await get_user_model().objects.acreate(username="ada")


@pytest.fixture
async def mine(site, owner):
    """Return ada's running listener "l" of the channel "orders"."""
    listener = await site.channel.aadd_listener(owner=owner, listener_id="l")
    await listener.astart()
    return listener.row


def path(listener="l", **options):
    return f"/events/orders/{listener}/?ticket={make_ticket('orders', listener, **options)}"


async def ends_before(response, site):
    """Return whether the stream ends without messages that are published from now on."""
    await site.publish("after the word")
    await response.end()
    assert b"after the word" not in response.body
    assert response.reader.retry_ms is not None
    return True


@pytest.mark.parametrize("by", ["listener", "user"])
async def test_a_listeners_stream_ends_and_its_ticket_opens_none(
    application, site, owner, mine, by
):
    url = path()
    async with Response(application, url) as response:
        await arevoke(**{by: mine if by == "listener" else owner})
        assert await ends_before(response, site)
    assert (await answer(application, url)).status == 403
    async with Response(application, path()) as response:  # a new one does
        assert response.status == 200


async def test_a_ticket_of_the_version_before_opens_its_stream_until_it_is_revoked(
    application, site, mine
):
    ticket = signing.dumps(["orders", "l", round(time.time() + 60, 3)], salt=SALT)
    async with Response(application, f"/events/orders/l/?ticket={ticket}") as response:
        assert response.status == 200
        await arevoke(listener=mine)
        await response.end()
    assert (await answer(application, f"/events/orders/l/?ticket={ticket}")).status == 403


async def test_the_streams_of_others_stay_open(application, site, owner, mine):
    other = await site.channel.aadd_listener(listener_id="other")
    await other.astart()
    stranger = await get_user_model().objects.acreate(username="eve")
    async with Response(application, path("other")) as response:
        await arevoke(user=owner, listener=mine, session="abc")
        await arevoke(user=stranger)
        await site.publish(1)
        assert (await response.event()).data == "1"


async def test_logging_out_ends_the_sessions_streams_and_tickets_alone(
    application, site, owner, mine
):
    cookies = [await session_of(owner) for _ in range(2)]
    keys = [cookie.decode().partition("=")[2] for cookie in cookies]
    bound = path(session=keys[0], user=owner)
    by_cookie = [
        Response(application, "/events/orders/l/", headers=[(b"cookie", each)]) for each in cookies
    ]
    async with by_cookie[0] as gone, by_cookie[1] as stays, Response(application, bound) as ticket:
        request = RequestFactory().get("/")
        request.session = SessionStore(keys[0])
        await sync_to_async(user_logged_out.send)(sender=type(owner), request=request, user=owner)
        await site.publish("after the word")
        for response in (gone, ticket):
            await response.end()
            assert b"after the word" not in response.body
        assert (await stays.event()).data == '"after the word"'
    assert (await answer(application, bound)).status == 403


async def test_a_watchers_ticket_is_revoked_with_its_user(application, site, owner):
    url = f"/events/orders/?ticket={make_ticket('orders', user=owner)}"
    async with Response(application, url) as response:
        await arevoke(user=owner)
        assert await ends_before(response, site)
    assert (await answer(application, url)).status == 403


async def test_a_deactivated_user_loses_access(application, site, owner, mine):
    cookie = [(b"cookie", await session_of(owner))]
    async with Response(application, "/events/orders/l/", headers=cookie) as response:
        owner.is_active = False
        await owner.asave()
        assert await ends_before(response, site)
    assert (await answer(application, "/events/orders/l/", headers=cookie)).status == 403


async def test_a_removed_user_loses_access(application, site, owner, mine):
    watching = f"/events/orders/?ticket={make_ticket('orders', user=owner)}"
    async with (
        Response(application, path()) as response,
        Response(application, watching) as watcher,
    ):
        await owner.adelete()
        await site.publish("after the word")
        for each in (response, watcher):
            await each.end()
            assert b"after the word" not in each.body


async def test_saving_an_active_user_or_a_fixture_revokes_nothing(application, owner, mine, site):
    async with Response(application, path()) as response:
        await owner.asave()
        await get_user_model().objects.acreate(username="new", is_active=False)
        await site.publish(1)
        assert (await response.event()).data == "1"


async def test_a_ticket_for_a_listener_that_was_removed_opens_no_other_by_its_id(
    application, site, mine
):
    url = path()
    await mine.adelete()
    again = await site.channel.aadd_listener(listener_id="l")
    await again.astart()
    from datetime import timedelta

    await Listener.objects.filter(pk=again.row.pk).aupdate(
        created_at=again.row.created_at + timedelta(minutes=1)
    )
    assert (await answer(application, url)).status == 403


async def test_a_stream_that_is_being_admitted_is_ended_too(application, site, mine, monkeypatch):
    from eric_sse_django.streaming.reader import Reader

    begin = Reader.begin

    async def meanwhile(reader):
        await arevoke(listener=mine)
        await site.at_head()
        await begin(reader)

    monkeypatch.setattr(Reader, "begin", meanwhile)
    response = await answer(application, path())
    assert response.status == 200
    assert response.reader.retry_ms is not None


async def test_nothing_is_revoked_when_the_transaction_rolls_back(application, site, mine):
    from django.db import transaction

    @sync_to_async
    def roll_back():
        with transaction.atomic():
            revoke(listener=mine)
            transaction.set_rollback(True)

    url = path()
    async with Response(application, url) as response:
        await roll_back()
        await site.publish(1)
        assert (await response.event()).data == "1"
    async with Response(application, url) as response:
        assert response.status == 200


def test_revoke_needs_an_argument():
    with pytest.raises(ValueError, match="user, listener, session or channel"):
        revoke()


@pytest.mark.django_db
def test_a_sessions_ticket_lives_no_longer_than_its_revocation_is_kept(settings):
    from eric_sse_django.authorization import read_ticket

    settings.ERIC_SSE = {"TICKET_MAX_AGE_S": 60}
    ticket = read_ticket(make_ticket("orders", max_age_s=10_000, session="abc"))
    assert ticket.expires_at - ticket.issued_at < 60.01
    assert "abc" not in str(ticket.subjects)
