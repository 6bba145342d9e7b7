"""Pages of tables too long to count."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils.functional import cached_property

from eric_sse_django.admin.typed import AnyPaginator
from eric_sse_django.admin.words import MOST


class BoundedPaginator(AnyPaginator):
    """A paginator that stops counting, and paging, at MOST; `stops` says that it did."""

    object_list: QuerySet[Any]

    @cached_property
    def _counted(self) -> int:
        rows = self.object_list.order_by().values("pk")
        return rows[: MOST + 1].count()

    @cached_property
    def count(self) -> int:
        return min(self._counted, MOST)

    @property
    def stops(self) -> bool:
        return self._counted > MOST
