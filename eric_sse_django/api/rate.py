"""The rate limit: how many messages a token may publish in a minute."""

from __future__ import annotations

import logging
import math
import threading
import time

from django.core.cache import cache

from eric_sse_django import conf
from eric_sse_django.api.access import Caller
from eric_sse_django.api.problem import Problem
from eric_sse_django.outage import Outage

logger = logging.getLogger(__name__)

WINDOW_S = 60

_outage = Outage(logger, "counting in Django's cache (API_RATE_PER_MINUTE)")
_outage_lock = threading.Lock()  # requests run on several threads


def charge(caller: Caller, messages: int) -> None:
    """
    Count messages that a caller publishes; raise a Problem once the minute's are used up.

    Counted in Django's cache: for all processes that share it. The request that exceeds the rate
    is published completely, so that a batch is never blocked forever. While the cache is
    unavailable nothing is published: the limit would not hold.
    """
    rate = conf.get("API_RATE_PER_MINUTE")
    if rate is None:
        return
    now = time.time()
    payer = f"token:{caller.token.pk}" if caller.token else f"user:{caller.user.pk}"
    key = f"eric_sse_django:rate:{payer}:{int(now // WINDOW_S)}"
    if _counted(key, messages) - messages >= rate:
        wait_s = WINDOW_S - int(now % WINDOW_S)
        raise Problem(
            429,
            f"The limit is {rate} messages a minute: try again in {wait_s} s.",
            headers={"Retry-After": str(wait_s)},
        )


def _counted(key: str, messages: int) -> int:
    """Add to the count and return it; raises a Problem while the cache is unavailable."""
    try:
        count = _add(key, messages)
    except Exception as error:  # each cache library has its own exceptions
        with _outage_lock:
            wait_s = math.ceil(_outage.failed())
        detail = (
            "The rate limit cannot be checked now: send the request again, "
            "with the same Idempotency-Key."
        )
        raise Problem(503, detail, headers={"Retry-After": str(wait_s)}) from error
    with _outage_lock:
        _outage.over()
    return count


def _add(key: str, messages: int) -> int:
    cache.add(key, 0, 2 * WINDOW_S)
    try:
        return cache.incr(key, messages)
    except ValueError:  # a cache that stores nothing, or has just dropped the key
        return messages
