"""What the app's plain views have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from django.db import connections, transaction
from django.http import HttpResponseBase
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

View = TypeVar("View", bound=Callable[..., HttpResponseBase])


def plain(view: View) -> View:
    """
    Return the view for GET and HEAD alone, never cached, and in no transaction.

    With ATOMIC_REQUESTS, on whichever database, a dead one would keep it from answering.
    """
    safe = never_cache(require_safe(view))
    for alias in connections:
        safe = transaction.non_atomic_requests(alias)(safe)
    return safe
