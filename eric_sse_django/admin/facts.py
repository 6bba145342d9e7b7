"""What a list of listeners shows beside their rows: two queries for all of them."""

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
from eric_sse_django.admin.filters import LAG
from eric_sse_django.admin.words import MOST, NOTHING, age, bounded, pill, running
from eric_sse_django.models import Listener, OpenStream


@dataclass
class Facts:
    """A listener's queue, and its open streams by the name of their server process."""

    depth: reports.Depth = field(default_factory=reports.Depth)
    streams: dict[str, int] = field(default_factory=dict)


def facts_of(listeners: Sequence[Listener]) -> dict[int, Facts]:
    """Return the facts of the listeners, by primary key."""
    facts = {pk: Facts(depth) for pk, depth in reports.depths(listeners, MOST).items()}
    counted = (
        OpenStream.objects.online()
        .filter(listener__in=list(facts))
        .values_list("listener_id", "process__name")
        .annotate(streams=Count("pk"))
        .order_by("process__name")
    )
    for listener, process, streams in counted:
        known = facts[listener].streams
        known[process] = known.get(process, 0) + streams
    return facts


def facts_beside(streams: Sequence[OpenStream], listener: Listener) -> Facts:
    """Return the facts of one listener whose open streams have all been read."""
    names = sorted(stream.process.name for stream in streams)
    depth = reports.depths([listener], MOST)[listener.pk]
    return Facts(depth, dict(Counter(names)))


class FactColumns:
    """The columns of a list, and the fields of a page, that show a listener's facts."""

    def facts(self, row: Listener) -> Facts:
        """Return the facts that the list has read for all, else read them for this one."""
        if not hasattr(row, "_facts"):
            row._facts = facts_of([row])[row.pk]  # type: ignore[attr-defined]
        found: Facts = row._facts  # type: ignore[attr-defined]
        return found

    @admin.display(description=gettext_lazy("online"))
    def online(self, row: Listener) -> Any:
        streams = self.facts(row).streams
        if not streams:
            return pill("off", _("offline"))
        total = sum(streams.values())
        text = ngettext("%(n)d stream", "%(n)d streams", total) % {"n": total}
        where = format_html_join(", ", "{}", ((name,) for name in streams))
        return format_html('{} <span class="eric-where">{}</span>', pill("on", text), where)

    @admin.display(description=gettext_lazy("queue"))
    def queue(self, row: Listener) -> Any:
        waiting = self.facts(row).depth.waiting
        if not waiting:
            return format_html('<span class="eric-quiet">{}</span>', 0)
        return format_html('<span class="eric-number">{}</span>', bounded(waiting))

    @admin.display(description=gettext_lazy("oldest"))
    def oldest(self, row: Listener) -> Any:
        moment = self.facts(row).depth.oldest
        if moment is None:
            return NOTHING
        late = timezone.now() - moment > LAG
        return pill("late", age(moment)) if late else age(moment)

    @admin.display(description=gettext_lazy("last seen"), ordering="last_seen")
    def seen(self, row: Listener) -> Any:
        if self.facts(row).streams:
            return _("now")  # the time is written with the cursor, so when something came
        return age(row.last_seen) if row.last_seen else _("never")

    @admin.display(description=gettext_lazy("state"), ordering="running")
    def state(self, row: Listener) -> Any:
        return running(row.running)
