"""The channel of the work's page: each visitor's new runs, and the state of the worker."""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import Any

from django.http import HttpRequest

from eric_sse_django.database import DatabaseChannel, DatabaseListener
from eric_sse_django.exception import InvalidListenerException
from eric_sse_django.shortcuts import listen, publish

WORK = "work"
WORK_RETENTION_S = 3_600
# Types of its messages.
STARTED, TOOK, WORKER = "started", "took", "worker"


def create() -> None:
    DatabaseChannel.get_or_create(WORK, retention_s=WORK_RETENTION_S)


def my_listener(request: HttpRequest) -> DatabaseListener:
    """Return the listener of this browser's session; its id is the thread of its runs."""
    if "work" not in request.session:
        request.session["work"] = secrets.token_urlsafe(12)
    if request.session.session_key is None:
        request.session.save()  # a ticket is bound to it
    return listen(WORK, listener_id=request.session["work"])


def notify(thread: str, type: str, payload: Any) -> None:
    """Publish to the pages of one session."""
    with suppress(InvalidListenerException):  # the listener may be removed meanwhile
        publish(WORK, type, payload, listener_id=thread)
