"""Each way to open a stream, and each event that narrows access: what ends, what opens again."""

import time

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model, logout
from django.core import signing

from eric_sse_django.authorization import bound_to, make_ticket, revoke
from eric_sse_django.authorization import tickets as tickets_module
from eric_sse_django.authorization.tickets import SALT
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.models import Channel, Listener, subject_of_session
from tests.streams.asgi import Response
from tests.streams.test_access import MINE, WATCH, Browser

# Ways into a stream, all of ada's. The last are of tickets as older versions made them.
COOKIE, BOUND, LEAKED, FREE, USERS, OLD, OLDEST = WAYS = (
    *("cookie", "bound ticket and cookie", "bound ticket alone", "ticket", "ticket of the user"),
    *("old ticket of the session", "oldest ticket"),
)
SESSIONS = {COOKIE, BOUND, LEAKED, OLD}
EVERY = set(WAYS)


class Site:
    """The rows and sessions that the events change."""

    def __init__(self, here):
        users = get_user_model().objects
        self.here, self.ada, self.eve = here, users.get(username="ada"), users.create_user("eve")
        self.channel = Channel.objects.get(name="orders")
        self.listener = Listener.objects.get(name="l")

    def again(self, owner):
        """Create a listener with the same id, and perhaps another owner."""
        DatabaseChannel.load("orders").add_listener(owner, "l").start()


def logs_out(site):
    site.here.does(logout)


def changes_the_password(site):
    site.ada.set_password("new")
    site.ada.save()


def is_deactivated(site):
    site.ada.is_active = False
    site.ada.save(update_fields=["is_active"])


def is_deleted(site):
    site.ada.delete()


def loses_the_listener(site):
    site.listener.delete()


def has_the_listener_made_anew(site):
    site.listener.delete()
    site.again(site.ada)


def loses_the_listener_to_another(site):
    site.listener.owner = site.eve
    site.listener.save()


def loses_its_id_to_another(site):
    Listener.objects.filter(name="l").delete()
    site.again(site.eve)


def loses_the_channel(site):
    site.channel.delete()


def loses_the_channels_id(site):
    site.channel.delete()
    DatabaseChannel.create("orders")
    site.again(site.eve)


def is_revoked(site):
    revoke(user=site.ada)


def has_the_listener_revoked(site):
    revoke(listener=site.listener)


def has_the_channel_revoked(site):
    revoke(channel=site.channel)


def has_the_session_revoked(site):
    revoke(session=site.here.key)


def is_stopped(site):
    DatabaseChannel.load("orders").get_listener("l").stop()


# What happens to ada -> the streams that end, and what opens one afterwards. An owner who is
# logged in may listen, also after the tickets have ended: so the page can reconnect.
OWN = {COOKIE, BOUND}
EVENTS = {
    logs_out: (SESSIONS, {FREE, USERS, OLDEST}),
    # An old ticket does not know the password.
    changes_the_password: ({COOKIE, BOUND, LEAKED}, {FREE, USERS, OLD, OLDEST}),
    is_deactivated: (EVERY, set()),
    is_deleted: (EVERY, set()),
    loses_the_listener: (EVERY, set()),
    has_the_listener_made_anew: (EVERY, OWN),
    loses_the_listener_to_another: (EVERY, set()),
    loses_its_id_to_another: (EVERY, set()),
    loses_the_channel: (EVERY, set()),
    loses_the_channels_id: (EVERY, set()),
    is_revoked: (EVERY, OWN),
    has_the_listener_revoked: (EVERY, OWN),
    has_the_channel_revoked: (EVERY, OWN),
    has_the_session_revoked: (SESSIONS, {FREE, USERS, OLDEST}),
    is_stopped: (EVERY, set()),
}


def access_is_narrowed(site):
    site.channel.access = Channel.Access.TICKET
    site.channel.save()


# The same for watchers of a channel that users may watch. Without an owner, a user who is
# deactivated, or revoked, ends only what is known to be the user's.
WATCHING = {
    logs_out: (SESSIONS, {FREE, USERS, OLDEST}),
    changes_the_password: ({COOKIE, BOUND, LEAKED}, {FREE, USERS, OLD, OLDEST}),
    is_deactivated: (EVERY - {FREE, OLDEST}, {FREE, OLDEST}),
    is_deleted: (EVERY - {FREE, OLDEST}, {FREE, OLDEST}),
    loses_the_listener: (set(), EVERY),
    access_is_narrowed: (EVERY, EVERY - {COOKIE}),
    loses_the_channel: (EVERY, set()),
    loses_the_channels_id: (EVERY, set()),
    is_revoked: (EVERY - {FREE, OLDEST}, {FREE, OLDEST} | OWN),
    has_the_channel_revoked: (EVERY, OWN),
    has_the_session_revoked: (SESSIONS, {FREE, USERS, OLDEST}),
}
CASES = [
    *((MINE, event, *expected) for event, expected in EVENTS.items()),
    *((WATCH, event, *expected) for event, expected in WATCHING.items()),
]


def tickets(request, user, listener):
    bound = make_ticket("orders", listener, **bound_to(request))
    soon, now = time.time() + 3_600, time.time()
    session = subject_of_session(request.session.session_key)
    return {
        COOKIE: "",
        BOUND: bound,
        LEAKED: bound,
        FREE: make_ticket("orders", listener),
        USERS: make_ticket("orders", listener, user=user),
        OLD: signing.dumps(["orders", listener, soon, now, str(user.pk), session], salt=SALT),
        OLDEST: signing.dumps(["orders", listener, soon, now, None, None], salt=SALT),
    }


class Ways:
    """Opens the stream of a path in each way."""

    def __init__(self, application, path, cookie, made):
        self.application, self.path, self.cookie, self.made = application, path, cookie, made

    def open(self, way):
        headers = self.cookie if way in OWN else []
        path = f"{self.path}?ticket={self.made[way]}" if self.made[way] else self.path
        return Response(self.application, path, headers=headers)

    async def opens(self, way):
        async with self.open(way) as response:
            return response.status == 200


@pytest.fixture
async def ada(transactional_db):
    return await get_user_model().objects.acreate_user("ada", password="old")


@pytest.mark.parametrize(
    ("path", "event", "ends", "opens"),
    CASES,
    ids=[f"{'watch' if path == WATCH else 'own'}-{event.__name__}" for path, event, *_ in CASES],
)
async def test_an_event_ends_its_streams_and_the_access_to_them(
    application, site, ada, settings, monkeypatch, path, event, ends, opens
):
    # Else the oldest tickets cannot distinguish a row that is created again at once.
    monkeypatch.setattr(tickets_module, "CLOCKS_APART_S", 0.0)
    await Channel.objects.filter(name="orders").aupdate(access=Channel.Access.USERS)
    await (await site.channel.aadd_listener(owner=ada, listener_id="l")).astart()
    here = await sync_to_async(Browser(settings).log_in)(ada)
    made = await sync_to_async(here.does)(tickets, ada, "l" if path == MINE else None)
    world = await sync_to_async(Site)(here)
    ways = Ways(application, path, here.cookie, made)
    opened = {way: ways.open(way) for way in WAYS}
    for way in WAYS:
        await opened[way].__aenter__()
        assert opened[way].status == 200, way
    await sync_to_async(event)(world)
    await site.at_head()  # else the notice ends also what is opened now
    assert {way for way in WAYS if await ways.opens(way)} == opens
    for way in ends:
        await opened[way].end()
    for way in EVERY - ends:
        assert not opened[way].complete, way
        await opened[way].leave()
