"""Lists of tables that are too long to count, with counts beside their rows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.contrib.admin.views.main import ORDER_VAR, PAGE_VAR, ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from eric_sse_django.admin.formatting import MAX_COUNT

if TYPE_CHECKING:  # generic for the type checker only
    AnyPaginator = Paginator[Any]
else:
    AnyPaginator = Paginator

# The attribute of a request that holds the count of the list, if a filter has counted it.
KNOWN_COUNT = "_eric_known_count"


def set_known_count(request: HttpRequest, count: int, *parameters: str) -> None:
    """Keep the count of a list that these GET parameters select, unless others narrow it."""
    if not set(request.GET) - {*parameters, PAGE_VAR, ORDER_VAR}:
        setattr(request, KNOWN_COUNT, count)


class BoundedPaginator(AnyPaginator):
    """
    A paginator that stops counting, and paging, at MAX_COUNT; `is_truncated` is true if it did.

    On the first page of a list, `is_first`, rows that fit on the page are read instead of
    counted: `first_page` returns them without another query.
    """

    object_list: QuerySet[Any]
    known_count: int | None = None
    is_first = False

    def configure(self, request: HttpRequest) -> None:
        """Read from the request of a list which page it asks for, and a known count."""
        self.known_count = getattr(request, KNOWN_COUNT, None)
        self.is_first = PAGE_VAR not in request.GET

    @property
    def first_page(self) -> list[Any]:
        return self._first_rows[: self.per_page]

    @cached_property
    def _first_rows(self) -> list[Any]:
        return list(self.object_list[: self.per_page + 1])

    @cached_property
    def _counted(self) -> int:
        if self.known_count is not None:
            return self.known_count
        if self.is_first and len(self._first_rows) <= self.per_page:
            return len(self._first_rows)
        rows = self.object_list.order_by().values("pk")
        return rows[: MAX_COUNT + 1].count()

    @cached_property
    def count(self) -> int:
        return min(self._counted, MAX_COUNT)

    @property
    def is_truncated(self) -> bool:
        return self._counted > MAX_COUNT


class CountsList(ChangeList):
    """A page of rows, each with its counts in `_counts`, which are read for all rows at once."""

    paginator: BoundedPaginator

    @abstractmethod
    def counts_of(self, rows: Sequence[Any]) -> Mapping[int, Any]:
        """Return the counts by primary key; a row that is missing has None."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        is_first = self.page_num == 1
        rows = self.paginator.first_page if is_first else list(self.result_list)
        counts = self.counts_of(rows)
        for row in rows:
            row._counts = counts.get(row.pk)
        self.result_list = rows
