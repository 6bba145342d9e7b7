"""The test site's ASGI application, which counts its reads of backlog: GET /backlogs."""

from __future__ import annotations

import json
import threading
from typing import Any

from tests.asgi import application as site

PATH = "/backlogs"


class Counted:
    """A function, with the number of its calls, and of simultaneous ones."""

    def __init__(self, function: Any) -> None:
        self._function = function
        self._lock = threading.Lock()
        self._now = self.calls = self.most_at_once = 0

    def __call__(self, *args: Any, **options: Any) -> Any:
        with self._lock:
            self.calls += 1
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            return self._function(*args, **options)
        finally:
            with self._lock:
                self._now -= 1


def _counted_reads() -> Counted:
    # Its models can be imported only after the site is set up, not at the head of this file.
    from eric_sse_django import log

    counted = Counted(log.DATABASE.read)
    log.DATABASE.read = counted  # type: ignore[method-assign]
    return counted


reads = _counted_reads()


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answer GET /backlogs; pass all other requests to the site."""
    if scope["type"] != "http" or scope["path"] != PATH:
        await site(scope, receive, send)
        return
    body = json.dumps({"reads": reads.calls, "most_at_once": reads.most_at_once}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
