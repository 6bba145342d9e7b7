"""Deleting channels: what goes with them is counted, never loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.text import capfirst

from eric_sse_django.admin.base import EricAdmin
from eric_sse_django.admin.words import MOST, at_least, bounded
from eric_sse_django.database.removal import remove_channel
from eric_sse_django.models import Channel, Listener, QueuedMessage
from eric_sse_django.reports import count_listeners, count_messages


class DeletesChannels(EricAdmin):
    """Says before a deletion how much goes, and deletes in bounded memory."""

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Return what Django's confirmation shows: each channel with two numbers below it."""
        rows: Sequence[Channel] = list(objs)
        keys = [row.pk for row in rows]
        listeners, messages = count_listeners(keys, MOST), count_messages(keys, MOST)
        shown: list[Any] = []
        for row in rows:
            shown.append(self._named(row))
            shown.append([_of(Listener, listeners[row.pk]), _of(QueuedMessage, messages[row.pk])])
        totals = {
            Channel._meta.verbose_name_plural: len(rows),
            Listener._meta.verbose_name_plural: _total(listeners),
            QueuedMessage._meta.verbose_name_plural: _total(messages),
        }
        return shown, totals, set(), []

    def _named(self, row: Channel) -> str:
        return format_html("{}: {}", capfirst(Channel._meta.verbose_name), self.link(row))

    def delete_model(self, request: HttpRequest, obj: Channel) -> None:
        remove_channel(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Channel]) -> None:
        for row in queryset:
            remove_channel(row)


def _total(counts: dict[int, int]) -> str:
    total = sum(min(count, MOST) for count in counts.values())
    return at_least(total, any(count > MOST for count in counts.values()))


def _of(model: type[Listener] | type[QueuedMessage], count: int) -> str:
    one = count == 1
    name = model._meta.verbose_name if one else model._meta.verbose_name_plural
    return f"{bounded(count)} {name}"
