"""Lists that show facts beside their rows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest

from eric_sse_django.admin.paginator import BoundedPaginator


class FactList(ChangeList):
    """A page of rows, each with its facts in `_facts`: read for all of them at once."""

    paginator: BoundedPaginator

    @abstractmethod
    def facts_of(self, rows: Sequence[Any]) -> Mapping[int, Any]:
        """Return the rows' facts, by primary key; a row that is left out has none: None."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        is_first = self.page_num == 1
        rows = self.paginator.first_page if is_first else list(self.result_list)
        facts = self.facts_of(rows)
        for row in rows:
            row._facts = facts.get(row.pk)
        self.result_list = rows
