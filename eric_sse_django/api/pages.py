"""Lists in pages: by the last id seen, so that each costs the same however many there are."""

from __future__ import annotations

from typing import Annotated, TypeVar

from django.db.models import QuerySet
from ninja import Query

from eric_sse_django.api.problem import Problem
from eric_sse_django.database.rows import check_identifier
from eric_sse_django.exception import InvalidIdentifier
from eric_sse_django.models import Channel, Listener

Row = TypeVar("Row", Channel, Listener)

LIMIT_MOST = 1_000
Limit = Annotated[int, Query(ge=1, le=LIMIT_MOST, description="How many to return.")]
After = Annotated[str | None, Query(description="The `next` of the page before.")]


def page(rows: QuerySet[Row], limit: int, after: str | None) -> tuple[list[Row], str | None]:
    """Return up to `limit` rows whose ids come after one, and the id to go on from, if any."""
    if after is not None:
        try:
            rows = rows.filter(name__gt=check_identifier(after))
        except InvalidIdentifier:
            raise Problem(422, "after is no id.", {"query.after": "no id"}) from None
    found = list(rows.order_by("name")[: limit + 1])
    following = found[limit - 1].name if len(found) > limit else None
    return found[:limit], following
