"""Pages of tables too long to count."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.views.main import ORDER_VAR, PAGE_VAR
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from eric_sse_django.admin.typed import AnyPaginator
from eric_sse_django.admin.words import MOST

# Where a filter that has counted already leaves the number, on the request.
KNOWN = "_eric_known_count"


def know(request: HttpRequest, count: int, *asked: str) -> None:
    """Leave the count of a list that these parameters made, if no others narrow it."""
    if not set(request.GET) - {*asked, PAGE_VAR, ORDER_VAR}:
        setattr(request, KNOWN, count)


class BoundedPaginator(AnyPaginator):
    """
    A paginator that stops counting, and paging, at MOST; `stops` says that it did.

    For `is_first`, the page that is asked for first, rows that fit on it are not counted,
    but read: who takes them from `first_page` needs one query for both.
    """

    object_list: QuerySet[Any]
    known: int | None = None
    is_first = False

    def look_at(self, request: HttpRequest) -> None:
        """Learn from a list's request which page it is for, and a count that is known."""
        self.known = getattr(request, KNOWN, None)
        self.is_first = PAGE_VAR not in request.GET

    @property
    def first_page(self) -> list[Any]:
        return self._ahead[: self.per_page]

    @cached_property
    def _ahead(self) -> list[Any]:
        return list(self.object_list[: self.per_page + 1])

    @cached_property
    def _counted(self) -> int:
        if self.known is not None:
            return self.known
        if self.is_first and len(self._ahead) <= self.per_page:
            return len(self._ahead)
        rows = self.object_list.order_by().values("pk")
        return rows[: MOST + 1].count()

    @cached_property
    def count(self) -> int:
        return min(self._counted, MOST)

    @property
    def stops(self) -> bool:
        return self._counted > MOST
