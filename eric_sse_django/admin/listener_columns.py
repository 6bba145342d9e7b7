"""The columns of listeners that are computed: queue, streams and times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.contrib import admin
from django.db.models import Count
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from eric_sse_django import reports
from eric_sse_django.admin.filters import LATE_AFTER
from eric_sse_django.admin.formatting import (
    EMPTY_VALUE,
    MAX_COUNT,
    age,
    bounded,
    pill,
    running,
)
from eric_sse_django.models import Listener, OpenStream


@dataclass
class ListenerCounts:
    """A listener's queue, and the number of its open streams by server process."""

    depth: reports.Depth = field(default_factory=reports.Depth)
    streams: dict[str, int] = field(default_factory=dict)


def counts_of(listeners: Sequence[Listener]) -> dict[int, ListenerCounts]:
    """Return the counts of the listeners by primary key. Two queries."""
    depths = reports.depths(listeners, MAX_COUNT)
    counts = {pk: ListenerCounts(depth) for pk, depth in depths.items()}
    rows = (
        OpenStream.objects.online()
        .filter(listener__in=list(counts))
        .values_list("listener_id", "process__name")
        .annotate(streams=Count("pk"))
        .order_by("process__name")
    )
    for listener, process, streams in rows:
        by_process = counts[listener].streams
        by_process[process] = by_process.get(process, 0) + streams
    return counts


def counts_with(streams: Sequence[OpenStream], listener: Listener) -> ListenerCounts:
    """Return the counts of a listener whose open streams have all been read. One query."""
    names = sorted(stream.process.name for stream in streams)
    depth = reports.depths([listener], MAX_COUNT)[listener.pk]
    return ListenerCounts(depth, dict(Counter(names)))


class ListenerColumns:
    """The columns of a list, and the fields of a page, that show ListenerCounts."""

    def counts(self, row: Listener) -> ListenerCounts:
        """Return the counts that the list has read for all rows, else read them for this row."""
        if not hasattr(row, "_counts"):
            row._counts = counts_of([row])[row.pk]  # type: ignore[attr-defined]
        found: ListenerCounts = row._counts  # type: ignore[attr-defined]
        return found

    @admin.display(description=gettext_lazy("online"))
    def online(self, row: Listener) -> Any:
        streams = self.counts(row).streams
        if not streams:
            return pill("off", _("offline"))
        total = sum(streams.values())
        text = ngettext("%(n)d stream", "%(n)d streams", total) % {"n": total}
        where = format_html_join(", ", "{}", ((name,) for name in streams))
        return format_html('{} <span class="eric-where">{}</span>', pill("on", text), where)

    @admin.display(description=gettext_lazy("queue"))
    def queue(self, row: Listener) -> Any:
        waiting = self.counts(row).depth.waiting
        if not waiting:
            return format_html('<span class="eric-quiet">{}</span>', 0)
        return format_html('<span class="eric-number">{}</span>', bounded(waiting))

    @admin.display(description=gettext_lazy("oldest"))
    def oldest(self, row: Listener) -> Any:
        moment = self.counts(row).depth.oldest
        if moment is None:
            return EMPTY_VALUE
        late = timezone.now() - moment > LATE_AFTER
        return pill("late", age(moment)) if late else age(moment)

    @admin.display(description=gettext_lazy("last seen"), ordering="last_seen")
    def seen(self, row: Listener) -> Any:
        if self.counts(row).streams:
            return _("now")  # last_seen is written with the cursor only
        return age(row.last_seen) if row.last_seen else _("never")

    @admin.display(description=gettext_lazy("state"), ordering="running")
    def state(self, row: Listener) -> Any:
        return running(row.running)
