"""The rules: who may listen, watch and publish."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from typing import Any

from django.utils.module_loading import import_string

from eric_sse_django import conf
from eric_sse_django.models import Channel, Listener

PUBLISH = "eric_sse_django.publish_channel"


class Authorizer:
    """
    The default rules. Subclass it, and name your class in ERIC_SSE["AUTHORIZER"].

    `user` is a Django user, or AnonymousUser. A method may be a coroutine function; else it
    is called on a thread, where it may query. A ticket opens its stream whatever they say.
    """

    def can_listen(self, user: Any, channel: Channel, listener: Listener) -> bool:
        """Whether the user may open the listener's stream: its owner may."""
        return bool(user.is_authenticated and user.pk == listener.owner_id)

    def can_watch(self, user: Any, channel: Channel) -> bool:
        """Whether the user may watch the channel's broadcasts: as `Channel.access` says."""
        if channel.access == str(Channel.Access.EVERYONE):
            return True
        return bool(user.is_authenticated and channel.access == str(Channel.Access.USERS))

    def can_publish(self, user: Any, channel: Channel) -> bool:
        """Whether the user may publish to the channel over HTTP: with Django's permission."""
        return bool(user.has_perm(PUBLISH))


def authorizer() -> Authorizer:
    """Return a new object of the project's class."""
    made: Authorizer = import_string(conf.get("AUTHORIZER"))()
    return made


async def ask(run: Any, rule: Any, *args: Any) -> bool:
    """Return what a rule says: awaited if it is a coroutine function, else called by `run`."""
    if inspect.iscoroutinefunction(rule):
        awaited: Awaitable[bool] = rule(*args)
        return bool(await awaited)
    return bool(await run(rule, *args))
