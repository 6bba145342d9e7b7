"""Every event that narrows access ends the streams concerned, and no others."""

import itertools
import time
from types import SimpleNamespace

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model, login, logout, update_session_auth_hash
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.contrib.sessions.backends.db import SessionStore
from django.db import connections
from django.db.models.signals import post_save, pre_save
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

from eric_sse_django.authorization import (
    Authorizer,
    arevoke,
    bound_to,
    events,
    make_ticket,
    revoke,
)
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.entry import REVOKE
from eric_sse_django.hub import Hub, keys_of
from eric_sse_django.hub.revocations import Revocations
from eric_sse_django.message import Message
from eric_sse_django.models import Channel, Listener, QueuedMessage, Revocation
from tests.streams.asgi import Response, answer

ENGINES = ["db", "cached_db", "cache", "file", "signed_cookies"]
MINE, WATCH = "/events/orders/l/", "/events/orders/"
BACKEND = "django.contrib.auth.backends.ModelBackend"


@pytest.fixture
async def ada(transactional_db):
    return await get_user_model().objects.acreate_user("ada", password="old")


@pytest.fixture
async def mine(site, ada):
    """Return ada's running listener "l" of the channel "orders"."""
    listener = await site.channel.aadd_listener(owner=ada, listener_id="l")
    await listener.astart()
    return listener.row


class Browser:
    """A user's browser: saves the session after a request, and keeps its cookie."""

    def __init__(self, settings, engine="db"):
        settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
        self.key = None

    def request(self):
        from importlib import import_module

        from django.conf import settings
        from django.contrib.auth.models import AnonymousUser

        request = RequestFactory().get("/")
        request.session = import_module(settings.SESSION_ENGINE).SessionStore(self.key)
        request.user = AnonymousUser()
        return request

    def does(self, act, *args):
        """Return the result of act(request, *args) in a request of a logged-in user."""
        from django.contrib.auth import get_user

        request = self.request()
        request.user = get_user(request)
        done = act(request, *args)
        if request.session.modified and not request.session.is_empty():
            request.session.save()
        self.key = request.session.session_key
        return done

    def log_in(self, user):
        self.does(lambda request: login(request, user, BACKEND))
        return self

    @property
    def cookie(self):
        return [(b"cookie", f"sessionid={self.key}".encode())]

    def open(self, application, path):
        return Response(application, path, headers=self.cookie)

    async def status(self, application, path):
        async with self.open(application, path) as response:
            return response.status


@pytest.fixture
def browser(settings):
    return lambda engine="db": Browser(settings, engine)


def ticket_url(request, listener=None):
    ticket = make_ticket("orders", listener, **bound_to(request))
    return f"{MINE if listener else WATCH}?ticket={ticket}"


numbers = itertools.count()


async def ends(site, *responses):
    """Check that streams end without messages that are published from now on."""
    later = f"later {next(numbers)}"
    await site.publish(later)
    for response in responses:
        await response.end()
        assert later.encode() not in response.body


async def stays_open(site, response):
    await site.publish("still open")
    while (await response.event()).data != '"still open"':
        pass


@pytest.mark.parametrize("engine", ENGINES)
async def test_logging_out_ends_what_was_opened_before_the_sessions_key_was_cycled(
    application, site, ada, mine, browser, engine, tmp_path, settings
):
    settings.SESSION_FILE_PATH = str(tmp_path)
    here = await sync_to_async(browser(engine).log_in)(ada)
    elsewhere = await sync_to_async(browser(engine).log_in)(ada)
    bound = await sync_to_async(here.does)(ticket_url, "l")
    async with (
        here.open(application, MINE) as by_cookie,
        Response(application, bound) as by_ticket,
        elsewhere.open(application, MINE) as other,
    ):
        assert by_cookie.status == by_ticket.status == other.status == 200
        await sync_to_async(here.does)(lambda request: request.session.cycle_key())
        await sync_to_async(here.does)(logout)
        await ends(site, by_cookie, by_ticket)
        await stays_open(site, other)
    assert (await answer(application, bound)).status == 403


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_client_that_reconnects_before_its_session_is_removed_is_refused(
    application, site, ada, mine, browser, engine, tmp_path, settings
):
    settings.SESSION_FILE_PATH = str(tmp_path)
    here = await sync_to_async(browser(engine).log_in)(ada)
    cookie = here.cookie

    def signal_alone(request):
        from django.contrib.auth.signals import user_logged_out

        user_logged_out.send(sender=type(ada), request=request, user=ada)

    async with here.open(application, MINE) as response:
        await sync_to_async(here.does)(signal_alone)
        await ends(site, response)
    assert (await answer(application, MINE, headers=cookie)).status == 403
    # Also on a server that has not read it in the log.
    await Hub.close_all()
    assert (await answer(application, MINE, headers=cookie)).status == 403


async def test_a_changed_password_ends_the_streams_of_all_sessions(
    application, site, ada, mine, browser
):
    here = await sync_to_async(browser().log_in)(ada)
    there = await sync_to_async(browser().log_in)(ada)
    bound = await sync_to_async(there.does)(ticket_url, "l")
    watching = await sync_to_async(here.does)(ticket_url)

    def change(request):
        request.user.set_password("new")
        request.user.save()
        update_session_auth_hash(request, request.user)

    async with (
        here.open(application, MINE) as one,
        there.open(application, MINE) as other,
        Response(application, bound) as third,
    ):
        await sync_to_async(here.does)(change)
        await ends(site, one, other, third)
    # The page that changed it can reconnect, by cookie and by ticket.
    assert await here.status(application, MINE) == 200
    assert await here.status(application, watching) == 200
    assert await there.status(application, MINE) == 403
    assert await there.status(application, bound) == 403
    assert (await answer(application, watching)).status == 403


async def test_a_session_of_an_old_secret_key_is_not_changed(
    application, site, ada, mine, browser, settings
):
    here = await sync_to_async(browser().log_in)(ada)
    old, settings.SECRET_KEY = settings.SECRET_KEY, "another"
    settings.SECRET_KEY_FALLBACKS = [old]
    assert await here.status(application, MINE) == 200
    assert await here.status(application, MINE) == 200  # the session has the same key still
    assert await sync_to_async(here.does)(lambda request: request.user) == ada


async def test_a_session_that_a_middleware_has_found_is_known_by_its_login(
    application, site, ada, mine, browser
):
    """As Channels' AuthMiddlewareStack puts user and session into the scope."""
    here = await sync_to_async(browser().log_in)(ada)
    session = SessionStore(here.key)
    async with Response(application, MINE, user=ada, session=session) as response:
        assert response.status == 200
        await sync_to_async(here.does)(lambda request: request.session.cycle_key())
        await sync_to_async(here.does)(logout)
        await ends(site, response)


def test_a_login_with_a_token_gets_no_session(db):
    request = RequestFactory().get("/")
    request.session = SessionStore()
    ada = get_user_model().objects.create_user("ada")
    user_logged_in.send(sender=type(ada), request=request, user=ada)
    user_logged_out.send(sender=type(ada), request=request, user=ada)
    assert not request.session.modified
    assert not Revocation.objects.exists()


async def test_revoking_a_session_ends_it_for_streams(application, site, ada, mine, browser):
    here = await sync_to_async(browser().log_in)(ada)
    there = await sync_to_async(browser().log_in)(ada)
    for each, named in ((here, here.key), (there, SessionStore(there.key))):
        async with each.open(application, MINE) as response:
            await arevoke(session=named)
            await ends(site, response)
        assert await each.status(application, MINE) == 403


async def test_a_user_who_stays_inactive_writes_nothing(site, ada):
    ada.is_active = False
    await ada.asave()
    assert await Revocation.objects.acount() == 1
    notices = QueuedMessage.objects.filter(type=REVOKE)
    assert await notices.acount() == 1
    await ada.asave()
    ada.first_name = "Ada"
    await ada.asave(update_fields=["first_name"])
    assert await notices.acount() == 1


def test_logging_in_does_not_query_the_user_as_it_was(ada_, django_assert_num_queries):
    with django_assert_num_queries(1):
        ada_.save(update_fields=["last_login"])


@pytest.fixture
def ada_(db):
    return get_user_model().objects.create_user("ada", password="old")


def test_deleting_many_users_takes_few_statements(database):
    users = get_user_model().objects
    users.bulk_create(get_user_model()(username=f"u{number}") for number in range(300))
    channel = DatabaseChannel.create("orders")
    Listener.objects.bulk_create(
        Listener(channel=channel.row, name=f"l{user.pk}", owner=user) for user in users.all()
    )
    with CaptureQueriesContext(connections[database]) as queries:
        users.all().delete()
    assert len(queries) < 40
    assert Revocation.objects.count() == 300
    assert QueuedMessage.objects.filter(type=REVOKE).count() == 1


async def test_the_rules_are_checked_again_for_a_user_who_lost_staff(
    application, site, ada, mine, browser, settings
):
    settings.ERIC_SSE = {"AUTHORIZER": f"{__name__}.StaffListens"}
    ada.is_staff = True
    await ada.asave()
    here = await sync_to_async(browser().log_in)(ada)
    async with here.open(application, MINE) as response:
        await ada.asave()
        await stays_open(site, response)
        ada.is_staff = False
        await ada.asave()
        await ends(site, response)
    assert await here.status(application, MINE) == 403


class StaffListens(Authorizer):
    def can_listen(self, user, channel, listener):
        return bool(user.is_authenticated and user.is_staff)


async def test_a_user_that_is_saved_as_a_proxy_is_handled(site, ada):
    class Customer(get_user_model()):
        class Meta:
            proxy = True
            app_label = "tests"

    # As apps.py does for the models that there are when Django starts.
    pre_save.connect(events.before_user_saved, sender=Customer)
    post_save.connect(events.on_user_saved, sender=Customer)
    customer = await Customer.objects.aget(pk=ada.pk)
    customer.is_active = False
    await customer.asave()
    assert await Revocation.objects.aexists()


async def test_a_narrower_access_ends_the_watchers_without_it(application, site, ada, browser):
    await Channel.objects.aupdate(access=Channel.Access.EVERYONE)
    row = await Channel.objects.aget()
    here = await sync_to_async(browser().log_in)(ada)
    async with (
        Response(application, WATCH) as anybody,
        here.open(application, WATCH) as logged_in,
    ):
        row.access = Channel.Access.USERS
        await row.asave()
        await ends(site, anybody, logged_in)
        assert (await answer(application, WATCH)).status == 403
        async with here.open(application, WATCH) as again:
            row.access = Channel.Access.EVERYONE  # wider: no rule is checked again
            await row.asave()
            await stays_open(site, again)
            row.access = Channel.Access.TICKET
            await row.asave()
            await ends(site, again)
    assert await here.status(application, WATCH) == 403


async def test_a_ticket_to_watch_outlives_a_narrower_access(application, site):
    ticket = await sync_to_async(make_ticket)("orders")
    row = site.channel.row
    await Channel.objects.aupdate(access=Channel.Access.EVERYONE)
    row.access = Channel.Access.TICKET
    await row.asave()
    async with Response(application, f"{WATCH}?ticket={ticket}") as response:
        assert response.status == 200


async def test_revoking_a_channel_ends_all_its_streams_and_its_tickets(
    application, site, ada, mine
):
    other = await DatabaseChannel.acreate("other")
    urls = [
        f"{WATCH}?ticket={make_ticket('orders')}",
        f"{MINE}?ticket={make_ticket('orders', 'l')}",
    ]
    async with (
        Response(application, urls[0]) as watching,
        Response(application, urls[1]) as listening,
        Response(application, f"/events/other/?ticket={make_ticket('other')}") as stays,
    ):
        await arevoke(channel=site.channel)
        await ends(site, watching, listening)
        await other.abroadcast(Message("n", 1))
        assert (await stays.event()).data == "1"
    for url in urls:
        assert (await answer(application, url)).status == 403


async def test_a_removed_channel_ends_its_watchers_and_a_new_one_of_its_id_is_not_theirs(
    application, site
):
    url = f"{WATCH}?ticket={await sync_to_async(make_ticket)('orders')}"
    async with Response(application, url) as response:
        await site.channel.row.adelete()
        new = await DatabaseChannel.acreate("orders")
        await new.abroadcast(Message("n", "secret"))
        await response.end()
        assert b"secret" not in response.body
    # Not even within the seconds that clocks may differ by.
    assert (await answer(application, url)).status == 403


async def test_a_removed_listeners_ticket_opens_no_other_by_its_id_at_once(
    application, site, mine
):
    url = f"{MINE}?ticket={await sync_to_async(make_ticket)('orders', 'l')}"
    await mine.adelete()
    again = await site.channel.aadd_listener(listener_id="l")
    await again.astart()
    assert (await answer(application, url)).status == 403


async def test_a_listeners_new_owner_ends_the_streams_of_the_one_before(
    application, site, ada, mine, browser
):
    eve = await get_user_model().objects.acreate(username="eve")
    here = await sync_to_async(browser().log_in)(ada)
    url = f"{MINE}?ticket={await sync_to_async(make_ticket)('orders', 'l')}"
    async with here.open(application, MINE) as one, Response(application, url) as other:
        row = await Listener.objects.aget()
        row.owner = eve
        await row.asave()
        await ends(site, one, other)
    assert await here.status(application, MINE) == 403
    assert (await answer(application, url)).status == 403


async def test_a_listener_that_gets_an_owner_gets_the_owners_messages(application, site, ada):
    guest = await site.channel.aadd_listener(listener_id="l")
    await guest.astart()
    url = f"{MINE}?ticket={await sync_to_async(make_ticket)('orders', 'l')}"
    async with Response(application, url) as response:
        guest.row.owner = ada
        await guest.row.asave()
        await response.end()
    async with Response(application, url) as response:
        await site.channel.adispatch_to_owner(ada, Message("n", 1))
        assert (await response.event()).data == "1"


# Tickets that open nothing any more, and pages that live on --------------------------------


class Late:
    """Moves the clock of tickets forward by some seconds."""

    def __init__(self, monkeypatch):
        self.patch = monkeypatch

    def __call__(self, seconds):
        now = time.time
        self.patch.setattr(
            "eric_sse_django.authorization.tickets.time",
            SimpleNamespace(time=lambda: now() + seconds),
        )


@pytest.fixture
def late(monkeypatch):
    return Late(monkeypatch)


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_page_lives_as_long_as_its_user_is_logged_in(
    application, site, ada, browser, engine, tmp_path, settings, late, fast_ticks
):
    settings.SESSION_FILE_PATH = str(tmp_path)
    settings.ERIC_SSE = {"TICKET_MAX_AGE_S": 1}
    here = await sync_to_async(browser(engine).log_in)(ada)
    elsewhere = await sync_to_async(browser(engine).log_in)(ada)
    url = await sync_to_async(here.does)(ticket_url)
    async with here.open(application, url) as response:
        late(10 * 86_400)
        await stays_open(site, response)
    assert await here.status(application, url) == 200
    await sync_to_async(here.does)(lambda request: request.session.cycle_key())
    async with here.open(application, url) as response:
        assert response.status == 200
        await sync_to_async(here.does)(logout)
        await ends(site, response)
    # Nobody else's page: not without the cookie, nor with that of another session.
    assert (await answer(application, url)).status == 403
    assert await elsewhere.status(application, url) == 403


async def test_a_visitors_page_lives_as_long_as_the_session(application, site, browser, late):
    here = browser()
    await sync_to_async(here.does)(lambda request: request.session.update({"cart": 1}))
    url = await sync_to_async(here.does)(ticket_url)
    late(86_400)
    assert await here.status(application, url) == 200
    assert (await answer(application, url)).status == 403
    await sync_to_async(here.does)(logout)
    assert await here.status(application, url) == 403


@pytest.mark.parametrize("flaw", ["expired", "foreign", "revoked", "forged"])
async def test_an_invalid_ticket_falls_back_to_the_session(
    application, site, ada, mine, browser, flaw
):
    here = await sync_to_async(browser().log_in)(ada)
    ticket = await sync_to_async(make_ticket)(
        "orders", "other" if flaw == "foreign" else "l", -1 if flaw == "expired" else None
    )
    if flaw == "revoked":
        await arevoke(listener=mine)
        await site.at_head()  # else the notice ends also the stream that is opened now
    url = f"{MINE}?ticket={ticket}{'x' if flaw == 'forged' else ''}"
    assert (await answer(application, url)).status == 403
    async with here.open(application, url) as response:
        assert response.status == 200
        await stays_open(site, response)


async def test_an_unbound_tickets_stream_ends_at_its_age(application, site, fast_ticks):
    ticket = await sync_to_async(make_ticket)("orders", None, 0.3)
    async with Response(application, f"{WATCH}?ticket={ticket}") as response:
        assert response.status == 200
        await response.end()


async def test_a_bound_tickets_stream_ends_at_its_age_without_the_sessions_cookie(
    application, site, ada, browser, fast_ticks
):
    """One that leaked opened a stream for MAX_STREAM_AGE_S a moment before it expired."""
    here = await sync_to_async(browser().log_in)(ada)
    elsewhere = await sync_to_async(browser().log_in)(ada)

    def url(request):
        return f"{WATCH}?ticket={make_ticket('orders', None, 0.6, **bound_to(request))}"

    url = await sync_to_async(here.does)(url)
    async with (
        here.open(application, url) as own,
        Response(application, url) as leaked,
        elsewhere.open(application, url) as others,
    ):
        assert own.status == leaked.status == others.status == 200
        await leaked.end()
        await others.end()
        await stays_open(site, own)


async def test_the_reason_of_a_refusal_is_only_in_the_log(
    application, site, ada, mine, browser, caplog, settings
):
    here = await sync_to_async(browser().log_in)(ada)
    foreign = await sync_to_async(make_ticket)("orders", "other")
    expired = await sync_to_async(make_ticket)("orders", None, -1)
    bodies, reasons = set(), []
    caplog.set_level("INFO", "eric_sse_django.consumers.request")
    for path in (
        "/events/none/",
        "/events/orders/none/",
        WATCH,
        MINE,
        f"{MINE}?ticket={foreign}",
        f"{WATCH}?ticket={expired}",
        f"{WATCH}?ticket=forged",
        "/events/a%0Ab/\nforged line/",
    ):
        caplog.clear()
        response = await answer(application, path)
        assert response.status == 403
        bodies.add(response.body)
        [record] = caplog.records
        assert record.levelname == "INFO"
        assert "\n" not in record.getMessage()
        reasons.append(record.getMessage().partition("reason=")[2])
    assert len(bodies) == 1
    assert reasons == [
        "there is no such channel",
        "there is no such listener",
        "can_watch refuses a visitor without login",
        "can_listen refuses a visitor without login",
        "can_listen refuses a visitor without login; its ticket is for another stream",
        "can_watch refuses a visitor without login; its ticket has expired",
        "can_watch refuses a visitor without login; the signature of a ticket is not valid",
        "there is no such listener",
    ]
    settings.DEBUG = True
    caplog.clear()
    assert await here.status(application, WATCH) == 403
    assert caplog.records[0].levelname == "WARNING"
    assert f"refuses the user {ada.pk}" in caplog.text


async def test_admission_takes_so_many_queries(application, site, ada, mine, browser, monkeypatch):
    await site.at_head()  # what a hub asks as it begins is not admission's
    here = await sync_to_async(browser().log_in)(ada)
    by_ticket = f"{MINE}?ticket={await sync_to_async(make_ticket)('orders', 'l')}"
    watching = f"{WATCH}?ticket={await sync_to_async(make_ticket)('orders')}"
    for open_, count in (
        (lambda: here.open(application, MINE), 3),  # session, user, rows
        (lambda: Response(application, by_ticket), 2),  # rows, revocations
        (lambda: Response(application, watching), 2),
    ):
        statements = []
        seen_by(monkeypatch, statements)
        async with open_() as response:
            assert response.status == 200
        tables = ("_channel", "_listener", "_session", "auth_user", "_revocation")
        reads = [each for each in statements if each.startswith("SELECT")]
        lookups = [each for each in reads if any(f'{name}"."' in each for name in tables)]
        assert len(lookups) == count, lookups


def seen_by(monkeypatch, statements):
    from django.db.backends.utils import CursorWrapper

    execute = CursorWrapper.execute

    def seen(self, sql, params=None):
        statements.append(sql)
        return execute(self, sql, params)

    monkeypatch.setattr(CursorWrapper, "execute", seen)


# What a notice costs ---------------------------------------------------------------------


def test_a_notice_visits_only_the_streams_that_it_ends():
    visited, subjects = [], Revocations()

    class Open:
        def __init__(self, number):
            names = [f"user:{number}", f"session:{number // 2}", "channel:1"]
            self.subjects = keys_of(names)

        def __hash__(self):
            visited.append(self)
            return id(self)

    everything = [Open(number) for number in range(2_000)]
    for each in everything:
        subjects.add(each)
    visited.clear()
    assert subjects.of(keys_of(["user:7"])) == {everything[7]}
    assert subjects.of(keys_of(["session:7", "user:9"])) == {
        everything[14],
        everything[15],
        everything[9],
    }
    assert len(visited) < 30
    assert len(subjects.of(keys_of(["channel:1"]))) == 2_000
    for each in everything:
        subjects.discard(each)
        subjects.discard(each)
    assert len(subjects) == 0


async def test_a_logout_does_not_visit_other_streams(application, site, ada, mine, monkeypatch):
    url = f"{MINE}?ticket={make_ticket('orders', 'l')}"
    ended = []
    async with Response(application, url), Response(application, url):
        [kind] = {type(stream) for stream in Hub.for_running_loop().streams}
        with monkeypatch.context() as patch:
            patch.setattr(kind, "end", lambda stream, reason: ended.append(reason))
            await arevoke(session="another", user=12_345)
            await site.at_head()
        assert ended == []


def test_many_subjects_take_few_notices(database, settings):
    settings.ERIC_SSE = {"MAX_MESSAGE_BYTES": 10}  # for the project's messages, not for notices
    channel = DatabaseChannel.create("orders")
    rows = Listener.objects.bulk_create(
        Listener(channel=channel.row, name=str(number)) for number in range(1_200)
    )
    revoke(listener=rows)
    assert Revocation.objects.count() == 1_200
    assert QueuedMessage.objects.filter(type=REVOKE).count() == 3


@pytest.mark.parametrize("wrong", ["till-7", 7, object()])
def test_an_object_of_another_type_is_a_typeerror_that_names_it(wrong):
    with pytest.raises(TypeError, match="is not a listener"):
        revoke(listener=wrong)
    with pytest.raises(TypeError, match="is not a channel"):
        revoke(channel=wrong)


def test_revoke_accepts_what_the_shortcuts_return(db):
    channel = DatabaseChannel.create("orders")
    listener = channel.add_listener(listener_id="l")
    revoke(listener=listener)
    revoke(listener=[listener, listener.row], channel=channel)
    assert set(Revocation.objects.values_list("subject", flat=True)) == {
        f"listener:{listener.row.pk}",
        f"channel:{channel.row.pk}",
    }
