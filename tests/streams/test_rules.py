"""Rules: who may listen and watch is the authorizer's to say."""

import pytest
from django.contrib.auth.models import AnonymousUser, Permission, User

from eric_sse_django import authorization
from eric_sse_django.authorization import Authorizer
from eric_sse_django.models import Channel, Listener

OWNER, OTHER = User(pk=1), User(pk=2)


def channel(access):
    return Channel(name="orders", access=access)


class Nobody(Authorizer):
    async def can_listen(self, user, channel, listener):
        return False


@pytest.mark.parametrize(
    ("user", "may"), [(OWNER, True), (OTHER, False), (AnonymousUser(), False)]
)
def test_the_owner_alone_listens(user, may):
    assert Authorizer().can_listen(user, channel("everyone"), Listener(owner_id=1)) is may


def test_a_listener_without_an_owner_is_nobodys():
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
def test_a_channel_says_who_may_watch_it(access, user, may):
    assert Authorizer().can_watch(user, channel(access)) is may


def test_a_new_channel_is_watched_with_tickets_only():
    assert Channel().access == "ticket"


@pytest.mark.django_db
def test_publishing_takes_djangos_permission():
    user = User.objects.create_user("ada")
    assert not Authorizer().can_publish(user, channel("everyone"))
    user.user_permissions.add(Permission.objects.get(codename="publish_channel"))
    assert Authorizer().can_publish(User.objects.get(pk=user.pk), channel("everyone"))


def test_the_projects_class_is_asked(settings):
    settings.ERIC_SSE = {"AUTHORIZER": f"{__name__}.Nobody"}
    assert isinstance(authorization.authorizer(), Nobody)


async def test_rules_may_be_coroutines_or_not():
    async def run(function, *args):
        return function(*args)

    for rules, may in ((Authorizer(), True), (Nobody(), False)):
        asked = (OWNER, channel("ticket"), Listener(owner_id=1))
        assert await authorization.ask(run, rules.can_listen, *asked) is may
