"""A decorator for the views of health and metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from django.db import connections, transaction
from django.http import HttpResponseBase
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

View = TypeVar("View", bound=Callable[..., HttpResponseBase])


def read_only(view: View) -> View:
    """
    Return the view for GET and HEAD only, never cached, and without a transaction.

    With ATOMIC_REQUESTS on any database, the view would fail while that one is unavailable.
    """
    safe = never_cache(require_safe(view))
    for alias in connections:
        safe = transaction.non_atomic_requests(alias)(safe)
    return safe
