"""Messages that have no event: logged once each, and when their clients reconnect."""

from __future__ import annotations

import logging
import time
import traceback

from eric_sse_django.entry import Entry
from eric_sse_django.exception import EncodingFailed
from eric_sse_django.workers import Hung

logger = logging.getLogger(__name__)

# Messages remembered. Beyond, the first is forgotten, and logged again if it fails again.
MAX_REMEMBERED = 1_000
# Seconds a client is asked to stay away at most: one that is sent again and again to the same
# message costs a request each time.
MAX_REST_S = 60.0
# Seconds for which a message that took too long is not tried again, at the least.
LEAST_REST_S = 5.0

Key = tuple["int | None", "int | None"]


class Unsendable:
    """
    The messages that could not be encoded lately, and since when.

    A message that fails keeps its streams from going on: it may be sent once the code is
    mended. Only for the hub's loop.
    """

    def __init__(self) -> None:
        self._since: dict[Key, float] = {}
        self.hanging: dict[Key, float] = {}  # until when not to try again what took too long

    def hangs(self, entry: Entry) -> bool:
        """Whether a message took too long so lately that it is not to be tried again now."""
        until = self.hanging.get((entry.channel, entry.position))
        return until is not None and time.monotonic() < until

    def note(self, failed: EncodingFailed) -> float:
        """
        Log the first failure of a message; return the seconds after which to try again.

        They grow with the time for which it has failed. The text of what was raised may hold
        the payload, so that the log gets it at DEBUG only.
        """
        now, key = time.monotonic(), (failed.channel, failed.position)
        since, cause = self._since.get(key), failed.__cause__
        rest_s = 0.0 if since is None else min(now - since, MAX_REST_S)
        if isinstance(cause, Hung) and now >= self.hanging.get(key, 0.0):
            # Each try takes a thread: many clients that reconnect are not to take them all.
            self.hanging[key] = now + max(rest_s, LEAST_REST_S)
        if since is not None:
            return rest_s
        if len(self._since) >= MAX_REMEMBERED:
            oldest = next(iter(self._since))
            del self._since[oldest]
            self.hanging.pop(oldest, None)
        self._since[key] = now
        logger.error(
            "a message has no event, its streams end channel=%s position=%s error=%s\n%s",
            *(failed.channel, failed.position, type(cause).__name__),
            "".join(traceback.format_tb(cause.__traceback__ if cause else None)),
        )
        logger.debug("what was raised", exc_info=failed)
        return 0.0
