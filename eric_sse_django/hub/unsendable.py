"""Messages that have no event: logged once each, and when their clients reconnect."""

from __future__ import annotations

import logging
import time
import traceback

from eric_sse_django.exception import EncodingFailed

logger = logging.getLogger(__name__)

# Messages remembered. Beyond, the first is forgotten, and logged again if it fails again.
MAX_REMEMBERED = 1_000
# Seconds a client is asked to stay away at most: one that is sent again and again to the same
# message costs a request each time.
MAX_REST_S = 60.0

Key = tuple["int | None", "int | None"]


class Unsendable:
    """
    The messages that could not be encoded lately, and since when.

    A message that fails keeps its streams from going on: it may be sent once the code is
    mended. Only for the hub's loop.
    """

    def __init__(self) -> None:
        self._since: dict[Key, float] = {}

    def note(self, failed: EncodingFailed) -> float:
        """
        Log the first failure of a message; return the seconds after which to try again.

        They grow with the time for which it has failed. The text of what was raised may hold
        the payload, so that the log gets it at DEBUG only.
        """
        now, key = time.monotonic(), (failed.channel, failed.position)
        since = self._since.get(key)
        if since is not None:
            return min(now - since, MAX_REST_S)
        if len(self._since) >= MAX_REMEMBERED:
            del self._since[next(iter(self._since))]
        self._since[key] = now
        cause = failed.__cause__
        logger.error(
            "a message has no event, its streams end channel=%s position=%s error=%s\n%s",
            *(failed.channel, failed.position, type(cause).__name__),
            "".join(traceback.format_tb(cause.__traceback__ if cause else None)),
        )
        logger.debug("what was raised", exc_info=failed)
        return 0.0
