"""The rules: who may listen, watch and publish."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from asgiref.sync import async_to_sync
from django.utils.module_loading import import_string

from eric_sse_django import conf
from eric_sse_django.models import Channel, Listener
from eric_sse_django.quiet import Quiet

logger = logging.getLogger(__name__)

PUBLISH = "eric_sse_django.publish_channel"
# Rules' coroutines that go on though they were cancelled, before no more are awaited.
MAX_UNANSWERED = 1_000

Call = Callable[..., Awaitable[Any]]
# What a rule gives: a method may be a coroutine function.
Verdict: TypeAlias = "bool | Awaitable[bool]"

quiet = Quiet()
_unanswered: set[asyncio.Task[Any]] = set()


class Authorizer:
    """
    The default rules. Subclass it, and name your class in ERIC_SSE["AUTHORIZER"].

    `user` is a Django user, or AnonymousUser. A method is called on a thread, where it may
    query; what it returns is awaited on the event loop if it can be. It has HOOK_TIMEOUT_S, and
    answers True or False: all else is logged and refused. A ticket opens its stream whatever
    they say.
    """

    def can_listen(self, user: Any, channel: Channel, listener: Listener) -> Verdict:
        """Whether the user may open the listener's stream: its owner may."""
        return bool(user.is_authenticated and user.pk == listener.owner_id)

    def can_watch(self, user: Any, channel: Channel) -> Verdict:
        """Whether the user may watch the channel's broadcasts: as `Channel.access` says."""
        if channel.access == str(Channel.Access.EVERYONE):
            return True
        return bool(user.is_authenticated and channel.access == str(Channel.Access.USERS))

    def can_publish(self, user: Any, channel: Channel) -> Verdict:
        """Whether the user may publish to the channel over HTTP: with Django's permission."""
        return bool(user.has_perm(PUBLISH))


def authorizer() -> Authorizer:
    """Return a new object of the project's class."""
    made: Authorizer = import_string(conf.get("AUTHORIZER"))()
    return made


async def ask(call: Call, name: str, *args: Any) -> bool:
    """
    Return what the rule of that name says, whatever kind of callable it is.

    `call(function, *args)` calls a function where it may hang alone: there the project's class is
    imported, made and asked. Raises what those raise, and asyncio.TimeoutError for a coroutine
    that takes longer than HOOK_TIMEOUT_S.
    """
    if conf.get("AUTHORIZER") == conf.DEFAULTS["AUTHORIZER"]:
        rule, said = _said(name, *args)  # ours, and never waits
    else:
        rule, said = await call(_said, name, *args)
    return verdict(rule, await answered(rule, said) if inspect.isawaitable(said) else said)


def ask_now(rule: Any, *args: Any) -> bool:
    """As ask(), on a thread without an event loop: what is not awaitable has no deadline."""
    said = rule(*args)
    if inspect.isawaitable(said):
        said = async_to_sync(answered)(rule, said)
    return verdict(rule, said)


async def answered(rule: Any, said: Awaitable[Any]) -> Any:
    """Return what a rule's awaitable gives; raises asyncio.TimeoutError after HOOK_TIMEOUT_S."""
    if len(_unanswered) >= MAX_UNANSWERED:
        if inspect.iscoroutine(said):
            said.close()
        raise asyncio.TimeoutError(f"{len(_unanswered)} rules do not answer")
    timeout_s = conf.get("HOOK_TIMEOUT_S")
    task = asyncio.ensure_future(_awaited(said))
    _unanswered.add(task)
    task.add_done_callback(_answered)
    try:
        await asyncio.wait({task}, timeout=timeout_s)
    finally:
        task.cancel()  # and not waited for: it may ignore that
    if not task.done() or task.cancelled():
        if quiet.begins(f"{_name(rule)} does not answer"):
            logger.error("a rule does not answer rule=%s timeout=%s", _name(rule), timeout_s)
        raise asyncio.TimeoutError(f"{_name(rule)} does not answer")
    return task.result()


def verdict(rule: Any, said: Any) -> bool:
    """Return what a rule said if that is True or False; all else is logged, and is False."""
    if said is True or said is False:
        return bool(said)
    kind = type(said).__name__
    if quiet.begins(f"{_name(rule)} {kind}"):
        logger.error(
            "a rule gave neither True nor False: refused rule=%s type=%s", _name(rule), kind
        )
    return False


def _name(rule: Any) -> str:
    return str(getattr(rule, "__qualname__", type(rule).__name__))


def _said(name: str, *args: Any) -> tuple[Any, Any]:
    rule = getattr(authorizer(), name)
    return rule, rule(*args)


async def _awaited(said: Awaitable[Any]) -> Any:
    try:
        return await said
    except SystemExit as error:  # out of a task it would end the server's loop
        raise RuntimeError("a rule raised SystemExit") from error


def _answered(task: asyncio.Task[Any]) -> None:
    _unanswered.discard(task)
    if not task.cancelled():
        task.exception()  # else asyncio logs what nobody waits for any more
