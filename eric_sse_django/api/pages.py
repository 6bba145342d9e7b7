"""Lists in pages: by the last id seen, so that each costs the same however many there are."""

from __future__ import annotations

from typing import Annotated, TypeVar

from django.db.models import QuerySet
from ninja import Query

from eric_sse_django.api.schemas import ID_PATTERN
from eric_sse_django.models import Channel, Listener

Row = TypeVar("Row", Channel, Listener)

LIMIT_MOST = 1_000
Limit = Annotated[int, Query(ge=1, le=LIMIT_MOST, description="How many to return.")]
After = Annotated[
    str | None, Query(pattern=ID_PATTERN, description="The `next` of the page before.")
]


def page(rows: QuerySet[Row], limit: int, after: str | None) -> tuple[list[Row], str | None]:
    """Return up to `limit` rows whose ids come after one, and the id to go on from, if any."""
    if after is not None:
        rows = rows.filter(name__gt=after)
    found = list(rows.order_by("name")[: limit + 1])
    following = found[limit - 1].name if len(found) > limit else None
    return found[:limit], following
