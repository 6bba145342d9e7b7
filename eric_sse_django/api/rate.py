"""How many messages a token publishes in a minute."""

from __future__ import annotations

import logging
import math
import threading
import time

from django.core.cache import cache

from eric_sse_django import conf
from eric_sse_django.api.caller import Caller
from eric_sse_django.api.problem import Problem
from eric_sse_django.outage import Outage

logger = logging.getLogger(__name__)

WINDOW_S = 60

_outage = Outage(logger, "counting in Django's cache (API_RATE_PER_MINUTE)")
_outage_lock = threading.Lock()  # requests are served on several threads


def charge(caller: Caller, messages: int) -> None:
    """
    Count messages that a caller publishes; raises a Problem once the minute's are used up.

    Counted in Django's cache: for all processes where they share one, else in each apart.
    The request that reaches the rate goes through whole, so that a batch is never starved.
    A cache that is down publishes nothing: a bound that fails open is none.
    """
    rate = conf.get("API_RATE_PER_MINUTE")
    if rate is None:
        return
    now = time.time()
    who = f"token:{caller.token.pk}" if caller.token else f"user:{caller.user.pk}"
    key = f"eric_sse_django:rate:{who}:{int(now // WINDOW_S)}"
    if _counted(key, messages) - messages >= rate:
        wait_s = WINDOW_S - int(now % WINDOW_S)
        raise Problem(
            429,
            f"{rate} messages a minute may be published: try again in {wait_s} s.",
            headers={"Retry-After": str(wait_s)},
        )


def _counted(key: str, messages: int) -> int:
    """Return the count with these in it; raises a Problem while the cache is down."""
    try:
        count = _add(key, messages)
    except Exception as error:  # what a client library of a cache raises is its own
        with _outage_lock:
            wait_s = math.ceil(_outage.failed())
        detail = "Messages cannot be counted now: send it again, with the same Idempotency-Key."
        raise Problem(503, detail, headers={"Retry-After": str(wait_s)}) from error
    with _outage_lock:
        _outage.over()
    return count


def _add(key: str, messages: int) -> int:
    cache.add(key, 0, 2 * WINDOW_S)
    try:
        return cache.incr(key, messages)
    except ValueError:  # a cache that keeps nothing, or dropped it just now
        return messages
