"""The rules: which user may listen, watch and publish, and watch the monitor."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.utils.module_loading import import_string

from eric_sse_django import conf, stream_urls
from eric_sse_django.authorization.revocation import any_remembered
from eric_sse_django.authorization.sessions import Visitor, visitor_of
from eric_sse_django.models import Channel, Listener
from eric_sse_django.outage import Quiet

logger = logging.getLogger(__name__)

PUBLISH = "eric_sse_django.publish_channel"
VIEW_MONITOR = "eric_sse_django.view_monitor"
# Coroutines of rules that still run after their cancellation; at this number no more are awaited.
MAX_UNANSWERED = 1_000

Call = Callable[..., Awaitable[Any]]
# What a rule returns: a method may be a coroutine function.
Verdict: TypeAlias = "bool | Awaitable[bool]"

quiet = Quiet()
_unanswered: set[asyncio.Task[Any]] = set()


class Authorizer:
    """
    The default rules. Subclass it, and name your class in ERIC_SSE["AUTHORIZER"].

    `user` is a Django user or AnonymousUser. A method is called on a thread, where it may query;
    an awaitable that it returns is awaited on the event loop. It has HOOK_TIMEOUT_S and must
    return True or False: anything else is logged, and access is denied. A valid ticket opens its
    stream without these rules.
    """

    def can_listen(self, user: Any, channel: Channel, listener: Listener) -> Verdict:
        """Return whether the user may open the listener's stream: its owner may."""
        return bool(user.is_authenticated and user.pk == listener.owner_id)

    def can_watch(self, user: Any, channel: Channel) -> Verdict:
        """Return whether the user may watch the channel's broadcasts, by `Channel.access`."""
        if channel.access == str(Channel.Access.EVERYONE):
            return True
        return bool(user.is_authenticated and channel.access == str(Channel.Access.USERS))

    def can_publish(self, user: Any, channel: Channel) -> Verdict:
        """Return whether the user may publish to the channel over HTTP, by Django's permission."""
        return bool(user.has_perm(PUBLISH))


def authorizer() -> Authorizer:
    """Return a new object of the project's class."""
    made: Authorizer = import_string(conf.get("AUTHORIZER"))()
    return made


async def ask(call: Call, name: str, *args: Any) -> bool:
    """
    Return the answer of the rule with that name, whatever kind of callable it is.

    `call(function, *args)` runs a function on a thread where it may hang without harm: there the
    project's class is imported, built and called. Raises what those raise, and
    asyncio.TimeoutError for a coroutine that takes longer than HOOK_TIMEOUT_S.
    """
    if conf.get("AUTHORIZER") == conf.DEFAULTS["AUTHORIZER"]:
        rule, answer = _call_rule(name, *args)  # the app's own, which never waits
    else:
        rule, answer = await call(_call_rule, name, *args)
    return verdict(rule, await answered(rule, answer) if inspect.isawaitable(answer) else answer)


def ask_now(rule: Any, *args: Any) -> bool:
    """As ask(), on a thread without an event loop; only an awaitable has a deadline."""
    answer = rule(*args)
    if inspect.isawaitable(answer):
        answer = async_to_sync(answered)(rule, answer)
    return verdict(rule, answer)


async def answered(rule: Any, answer: Awaitable[Any]) -> Any:
    """Return the result of a rule's awaitable; raise asyncio.TimeoutError after HOOK_TIMEOUT_S."""
    if len(_unanswered) >= MAX_UNANSWERED:
        if inspect.iscoroutine(answer):
            answer.close()
        raise asyncio.TimeoutError(f"{len(_unanswered)} rules have not answered yet")
    timeout_s = conf.get("HOOK_TIMEOUT_S")
    task = asyncio.ensure_future(_awaited(answer))
    _unanswered.add(task)
    task.add_done_callback(_answered)
    try:
        await asyncio.wait({task}, timeout=timeout_s)
    finally:
        task.cancel()  # and not awaited: it may ignore that
    if not task.done() or task.cancelled():
        if quiet.begins(f"{_name(rule)} did not answer in time"):
            logger.error(
                "a rule did not answer in time rule=%s timeout=%s", _name(rule), timeout_s
            )
        raise asyncio.TimeoutError(f"{_name(rule)} did not answer in time")
    return task.result()


def verdict(rule: Any, answer: Any) -> bool:
    """Return a rule's answer if it is True or False; log anything else, and return False."""
    if answer is True or answer is False:
        return bool(answer)
    kind = type(answer).__name__
    if quiet.begins(f"{_name(rule)} {kind}"):
        logger.error(
            "a rule returned neither True nor False, access is denied rule=%s type=%s",
            *(_name(rule), kind),
        )
    return False


def _name(rule: Any) -> str:
    return str(getattr(rule, "__qualname__", type(rule).__name__))


def _call_rule(name: str, *args: Any) -> tuple[Any, Any]:
    rule = getattr(authorizer(), name)
    return rule, rule(*args)


async def _awaited(answer: Awaitable[Any]) -> Any:
    try:
        return await answer
    except SystemExit as error:  # raised out of a task, it would end the server's loop
        raise RuntimeError("a rule raised SystemExit") from error


def _answered(task: asyncio.Task[Any]) -> None:
    _unanswered.discard(task)
    if not task.cancelled():
        task.exception()  # else asyncio logs an exception that was never retrieved


# Of a request ---------------------------------------------------------------------------


def opens_without_ticket(request: Any, channel: Channel, listener: Listener | None = None) -> bool:
    """
    Return whether the page of a Django request may open a stream by its cookie, or anybody may.

    False with the project's own rules: they may query, and may be coroutines.
    """
    rules = type(authorizer())
    if listener is not None:
        is_default = rules.can_listen is Authorizer.can_listen
        return (
            is_default
            and listener.owner_id is not None
            and _logged_in(request) == listener.owner_id
        )
    if rules.can_watch is not Authorizer.can_watch:
        return False
    if channel.access == str(Channel.Access.EVERYONE):
        return True
    return channel.access == str(Channel.Access.USERS) and _logged_in(request) is not None


def _logged_in(request: Any) -> Any:
    """Return the key of the user that a stream would find by the request's cookie, else None."""
    user, session = getattr(request, "user", None), getattr(request, "session", None)
    if user is None or session is None or not (user.is_authenticated and user.is_active):
        return None
    is_sent = stream_urls.root().startswith(settings.SESSION_COOKIE_PATH)
    return user.pk if is_sent and SESSION_KEY in session else None


def monitor_visitor(session_key: str | None) -> Visitor | None:
    """
    Return the visitor with this session if it may watch the monitor, else None.

    That is staff with the permission view_monitor. Three queries, two more for a user who is not
    a superuser; nothing is cached between calls.
    """
    visitor = visitor_of(session_key)
    is_allowed = visitor.user.is_staff and visitor.user.has_perm(VIEW_MONITOR)
    return visitor if is_allowed and not any_remembered(visitor.session) else None
