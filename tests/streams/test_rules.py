"""Rules: the authorizer decides which users may listen and watch."""

import asyncio
import contextlib

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser, Permission, User

from eric_sse_django import authorization
from eric_sse_django.authorization import Authorizer, rules
from eric_sse_django.models import Channel, Listener
from eric_sse_django.outage import Quiet

OWNER, OTHER = User(pk=1), User(pk=2)


def channel(access):
    return Channel(name="orders", access=access)


class Nobody(Authorizer):
    async def can_listen(self, user, channel, listener):
        return False


@pytest.mark.parametrize(
    ("user", "may"), [(OWNER, True), (OTHER, False), (AnonymousUser(), False)]
)
def test_only_the_owner_may_listen(user, may):
    assert Authorizer().can_listen(user, channel("everyone"), Listener(owner_id=1)) is may


def test_no_user_may_listen_to_a_listener_without_an_owner():
    for user in (OWNER, AnonymousUser()):
        assert not Authorizer().can_listen(user, channel("everyone"), Listener())


@pytest.mark.parametrize(
    ("access", "user", "may"),
    [
        ("ticket", OWNER, False),
        ("ticket", AnonymousUser(), False),
        ("users", OWNER, True),
        ("users", AnonymousUser(), False),
        ("everyone", OWNER, True),
        ("everyone", AnonymousUser(), True),
    ],
)
def test_the_channels_access_decides_which_users_may_watch(access, user, may):
    assert Authorizer().can_watch(user, channel(access)) is may


def test_a_new_channel_is_watched_with_tickets_only():
    assert Channel().access == "ticket"


@pytest.mark.django_db
def test_publishing_takes_djangos_permission():
    user = User.objects.create_user("ada")
    assert not Authorizer().can_publish(user, channel("everyone"))
    user.user_permissions.add(Permission.objects.get(codename="publish_channel"))
    assert Authorizer().can_publish(User.objects.get(pk=user.pk), channel("everyone"))


def test_the_projects_class_is_used(settings):
    settings.ERIC_SSE = {"AUTHORIZER": f"{__name__}.Nobody"}
    assert isinstance(authorization.authorizer(), Nobody)


async def call(function, *args):
    return function(*args)


async def test_rules_may_be_coroutines_or_not(settings):
    asked = (OWNER, channel("ticket"), Listener(owner_id=1))
    assert await authorization.ask(call, "can_listen", *asked) is True
    settings.ERIC_SSE = {"AUTHORIZER": f"{__name__}.Nobody"}
    assert await authorization.ask(call, "can_listen", *asked) is False


# Whatever a rule is ---------------------------------------------------------------------------


async def yes(*_):
    return True


class Awaitable:
    def __await__(self):
        return (yield from yes().__await__())


def decorated(rule):
    """A plain decorator over a coroutine function, which hides that it is one."""

    def plain(*args):
        return rule(*args)

    return plain


async def no(*_):
    return False


class Odd(Authorizer):
    answer = None

    def can_watch(self, user, channel):
        return self.answer(user) if callable(self.answer) else self.answer


@pytest.fixture
def odd(settings, monkeypatch):
    """Return a function that calls a rule with this answer, as streams and as the API do."""
    settings.ERIC_SSE = {"AUTHORIZER": f"{__name__}.Odd", "HOOK_TIMEOUT_S": 0.05}
    monkeypatch.setattr(rules, "quiet", Quiet())

    async def ask(answer):
        monkeypatch.setattr(Odd, "answer", staticmethod(answer) if callable(answer) else answer)
        in_streams = await authorization.ask(call, "can_watch", OTHER, channel("everyone"))
        now = sync_to_async(authorization.ask_now, thread_sensitive=False)
        in_the_api = await now(Odd().can_watch, OTHER, channel("everyone"))
        assert in_streams is in_the_api
        return in_streams

    return ask


@pytest.mark.parametrize("answer", [yes, decorated(yes), lambda user: Awaitable(), True])
async def test_any_awaitable_answer_is_awaited(odd, answer):
    assert await odd(answer) is True


@pytest.mark.parametrize("answer", [no, decorated(no), False])
async def test_a_forgotten_await_gives_no_access(odd, answer):
    assert await odd(answer) is False


async def truthy(*_):
    return "yes"


@pytest.mark.parametrize("answer", [None, 1, "no", [0], {"ok": True}, OTHER, truthy, object()])
async def test_anything_but_true_or_false_is_refused_and_logged_once(odd, answer, caplog):
    assert await odd(answer) is False
    assert await odd(answer) is False
    [record] = caplog.records
    assert "neither True nor False" in record.getMessage()
    assert "Odd.can_watch" in record.getMessage()


async def stubborn(*_):
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3_600)
        if not stubborn.goes_on:
            return True


async def canceling(*_):
    raise asyncio.CancelledError


@pytest.mark.parametrize("answer", [stubborn, canceling])
async def test_a_coroutine_that_never_answers_is_awaited_for_a_bounded_time(
    settings, monkeypatch, answer, caplog
):
    settings.ERIC_SSE = {"HOOK_TIMEOUT_S": 0.01}
    monkeypatch.setattr(rules, "quiet", Quiet())
    stubborn.goes_on = True
    try:
        for _ in range(2):
            with pytest.raises(asyncio.TimeoutError):
                await rules.answered(answer, answer())
        assert len(caplog.records) == 1
        monkeypatch.setattr(rules, "MAX_UNANSWERED", len(rules._unanswered))
        with pytest.raises(asyncio.TimeoutError):
            await rules.answered(yes, yes())  # refused at once
    finally:
        stubborn.goes_on = False
        for task in tuple(rules._unanswered):
            task.cancel()
        while rules._unanswered:
            await asyncio.sleep(0)
