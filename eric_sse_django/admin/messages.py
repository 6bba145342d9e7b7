"""The admin of the log: what was published, to whom, and who has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Left
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from eric_sse_django import log
from eric_sse_django.admin.base import EricAdmin
from eric_sse_django.admin.filters import ChannelFilter, TypeFilter
from eric_sse_django.admin.lists import FactList
from eric_sse_django.admin.paginator import know
from eric_sse_django.admin.reach import Reach, reach_of_one, reach_of_page
from eric_sse_django.admin.words import MOST, PREVIEW, age, bounded, pill, pretty, preview
from eric_sse_django.entry import NO_CHANNEL
from eric_sse_django.models import Channel, Listener, QueuedMessage, with_user
from eric_sse_django.monitor import payload

# Characters of a payload that are read for its preview in the list.
STORED = PREVIEW * payload.ESCAPED_LENGTH
# Messages that the filters look through, newest first: the log has no index on type, nor
# on a channel's messages in their order.
MOST_FILTERED = 100_000
# Messages that a search finds at most, and the newest in which it looks for types and texts.
MOST_FOUND = 1_000
MOST_SEARCHED = 10_000
# A position is a 64-bit number.
MOST_DIGITS = 18


class MessageList(FactList):
    """A page of messages with how far they went; without their payloads but the beginnings."""

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        found = super().get_queryset(request, *args, **kwargs)
        # Not joined to the channel: MariaDB would read the log by channels, and sort all of it.
        names = Channel.objects.filter(pk=OuterRef("channel")).values("name")
        light: QuerySet[Any] = found.defer("payload").annotate(
            preview=Left("payload", STORED + 1), channel_name=Subquery(names)
        )
        if self.query or not (request.GET.get("channel") or request.GET.get("type")):
            return light  # found by their keys, or all of them
        head, _waits = log.head()
        return light.filter(position__gt=head - MOST_FILTERED)

    def facts_of(self, rows: Sequence[Any]) -> dict[int, Reach]:
        field: Any = QueuedMessage._meta.get_field("channel")
        for row in rows:
            columns = row.channel_id, row.channel_name
            gone = row.channel_name is None  # nothing in the database holds it
            found = None if gone else Channel.from_db(row._state.db, ["id", "name"], columns)
            field.set_cached_value(row, found)
        return reach_of_page(rows)


DELIVERY = ("delivered", "created_at", "expires_at", "perishable")


@admin.register(QueuedMessage)
class MessageAdmin(EricAdmin):
    """The log is only read."""

    list_display = ("place", "channel", "to", "kind", "beginning", "published", "delivered")
    list_display_links = ("place",)
    list_filter = (ChannelFilter, TypeFilter)
    ordering = ("-position", "-id")
    sortable_by = ()
    search_fields = ("position",)
    search_help_text = gettext_lazy(
        "An exact position or the exact id of a listener; else an exact type or a text within "
        "a payload, among the newest 10,000 messages."
    )
    fieldsets = (
        (None, {"fields": ["place", "channel_link", "to", "type", "payload_text"]}),
        (gettext_lazy("Delivery"), {"fields": DELIVERY}),
        (gettext_lazy("Signature"), {"fields": ["sender", "uid"]}),
    )
    readonly_fields = ("place", "channel_link", "to", "payload_text", "delivered")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return MessageList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).select_related("listener")
        return with_user(rows, "owner")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # published from a channel's page, which checks and wakes

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # some listeners have it already

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # retention removes it, and listeners that missed it are notified

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """
        Find by position and by listener, each by its index: never a scan of the log.

        What is neither is looked for as a type and in the payloads of the newest messages.
        """
        term = search_term.strip()
        if not term:
            return queryset, False
        rows = QueuedMessage.objects
        keys: list[int] = []
        if term.isascii() and term.isdigit() and len(term) <= MOST_DIGITS:
            keys += rows.filter(position=int(term)).values_list("pk", flat=True)
        for listener in Listener.objects.filter(name=term)[:10]:
            own = rows.filter(channel=listener.channel_id, listener=listener, owner=None)
            latest = own.order_by("-listener_id", "-owner_id", "-position")
            keys += latest.values_list("pk", flat=True)[:MOST_FOUND]
        if not keys:
            newest = rows.filter(position__gt=log.head()[0] - MOST_SEARCHED)
            within = newest.filter(Q(type=term) | Q(payload__contains=payload.stored(term)))
            keys += within.order_by("-position").values_list("pk", flat=True)[:MOST_FOUND]
        know(request, len(set(keys)), "q")
        return queryset.filter(pk__in=keys), False

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        asked = bool(request.GET)  # then they are not what is looked for
        waiting = 0 if asked else log.pending()[: MOST + 1].count()
        context = {"pending": bounded(waiting) if waiting else "", **(extra_context or {})}
        return super().changelist_view(request, context)

    @admin.display(description=gettext_lazy("position"), ordering="position")
    def place(self, row: QueuedMessage) -> Any:
        return pill("late", _("pending")) if row.position is None else str(row.position)

    @admin.display(description=gettext_lazy("to"))
    def to(self, row: QueuedMessage) -> Any:
        if row.listener_id is not None:
            found = _related(row, "listener")
            return self.link(found) if found else _("a listener that was removed")
        if row.owner_id is not None:
            owner = _related(row, "owner")
            text = _("all of %s") % owner if owner else _("a user who was removed")
            return self.link(owner, text) if owner else text
        of_ours = row.channel_id == NO_CHANNEL
        text = _("every server process") if of_ours else _("everyone")
        return format_html('<span class="eric-quiet">{}</span>', text)

    @admin.display(description=gettext_lazy("payload"))
    def beginning(self, row: Any) -> Any:
        return preview(row.preview[:STORED], len(row.preview) > STORED)

    @admin.display(description=gettext_lazy("type"))
    def kind(self, row: Any) -> Any:
        query = urlencode({"type": row.type})
        return format_html('<a href="?{}" title="{}">{}</a>', query, _("Only this type"), row.type)

    @admin.display(description=gettext_lazy("payload"))
    def payload_text(self, row: QueuedMessage) -> Any:
        html = '<pre class="eric-payload" tabindex="0" role="region" aria-label="{}">{}</pre>'
        return format_html(html, _("Payload as JSON"), pretty(row.payload))

    @admin.display(description=gettext_lazy("channel"), empty_value="-")
    def channel_link(self, row: QueuedMessage) -> Any:
        channel = _related(row, "channel")
        return self.link(channel) if channel else None

    @admin.display(description=gettext_lazy("published"))
    def published(self, row: QueuedMessage) -> Any:
        return age(row.created_at)

    @admin.display(description=gettext_lazy("delivered"), empty_value="-")
    def delivered(self, row: QueuedMessage) -> Any:
        reach: Reach | None = row._facts if hasattr(row, "_facts") else reach_of_one(row)
        if reach is None:
            return None
        numbers = {"some": bounded(reach.delivered), "all": bounded(reach.addressed)}
        return _("%(some)s of %(all)s") % numbers


def _related(row: QueuedMessage, name: str) -> Any:
    """Return what it belongs to, None if that was removed: nothing in the database holds it."""
    key = getattr(row, f"{name}_id")
    if name in row._state.fields_cache:
        return getattr(row, name)
    model = QueuedMessage._meta.get_field(name).related_model
    return model._base_manager.filter(pk=key).first()  # type: ignore[union-attr]
