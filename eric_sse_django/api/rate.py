"""How many messages a token publishes in a minute."""

from __future__ import annotations

import time

from django.core.cache import cache

from eric_sse_django import conf
from eric_sse_django.api.caller import Caller
from eric_sse_django.api.problem import Problem

WINDOW_S = 60


def charge(caller: Caller, messages: int) -> None:
    """
    Count messages that a caller publishes; raises a Problem once the minute's are used up.

    Counted in Django's cache: for all processes where they share one, else in each apart.
    The request that reaches the rate goes through whole, so that a batch is never starved.
    """
    rate = conf.get("API_RATE_PER_MINUTE")
    if rate is None:
        return
    now = time.time()
    who = f"token:{caller.token.pk}" if caller.token else f"user:{caller.user.pk}"
    key = f"eric_sse_django:rate:{who}:{int(now // WINDOW_S)}"
    if _add(key, messages) - messages >= rate:
        wait_s = WINDOW_S - int(now % WINDOW_S)
        raise Problem(
            429,
            f"{rate} messages a minute may be published: come back in {wait_s} s.",
            headers={"Retry-After": str(wait_s)},
        )


def _add(key: str, messages: int) -> int:
    """Return the count with these in it."""
    cache.add(key, 0, 2 * WINDOW_S)
    try:
        return cache.incr(key, messages)
    except ValueError:  # a cache that keeps nothing, or dropped it just now
        return messages
