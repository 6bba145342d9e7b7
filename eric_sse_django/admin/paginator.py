"""Pages of tables too long to count."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils.functional import cached_property

from eric_sse_django.admin.typed import AnyPaginator

# Rows that are counted, and can be paged through: the 100th page is not where one looks.
MOST_ROWS = 10_000


class BoundedPaginator(AnyPaginator):
    """A paginator that stops counting at MOST_ROWS; `stops` says that it did."""

    object_list: QuerySet[Any]

    @cached_property
    def _counted(self) -> int:
        rows = self.object_list.order_by().values("pk")
        return rows[: MOST_ROWS + 1].count()

    @cached_property
    def count(self) -> int:
        return min(self._counted, MOST_ROWS)

    @property
    def stops(self) -> bool:
        return self._counted > MOST_ROWS
