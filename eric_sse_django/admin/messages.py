"""The admin of the log: the messages, their recipients, and how many have been served."""

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
from eric_sse_django.admin.base import CountsList, EricAdmin, WithCounts, set_known_count
from eric_sse_django.admin.filters import ChannelFilter, TypeFilter
from eric_sse_django.admin.formatting import (
    MAX_COUNT,
    PREVIEW_CHARACTERS,
    age,
    bounded,
    pill,
    pretty,
    preview,
)
from eric_sse_django.entry import NO_CHANNEL
from eric_sse_django.models import Channel, Listener, QueuedMessage, with_user
from eric_sse_django.reports import (
    ESCAPED_LENGTH,
    DeliveredCount,
    count_delivered,
    count_delivered_page,
    stored,
)

# Characters of a stored payload that are read for its preview in the list.
PREVIEW_STORED = PREVIEW_CHARACTERS * ESCAPED_LENGTH
# Newest messages that the filters read: the log has no index on the type, nor on the
# positions of a channel.
MAX_FILTERED = 100_000
# Messages that a search finds, and newest messages in which it finds types and texts.
MAX_FOUND = 1_000
MAX_SEARCHED = 10_000
# A position is a 64-bit number.
MAX_DIGITS = 18


class MessageList(CountsList):
    """A page of messages; of their payloads only the beginning is read."""

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        found = super().get_queryset(request, *args, **kwargs)
        # Not joined to the channel: MariaDB would read the log by channel, and sort all of it.
        names = Channel.objects.filter(pk=OuterRef("channel")).values("name")
        rows: QuerySet[Any] = found.defer("payload").annotate(
            preview=Left("payload", PREVIEW_STORED + 1), channel_name=Subquery(names)
        )
        if self.query or not (request.GET.get("channel") or request.GET.get("type")):
            return rows  # selected by primary key, or all of them
        head, _waits = log.head()
        return rows.filter(position__gt=head - MAX_FILTERED)


DELIVERY = ("delivered", "created_at", "expires_at", "perishable")


@admin.register(QueuedMessage)
class MessageAdmin(WithCounts, EricAdmin):
    """Shows the log; nothing can be changed."""

    list_display = ("place", "channel", "to", "kind", "beginning", "published", "delivered")
    list_display_links = ("place",)
    list_filter = (ChannelFilter, TypeFilter)
    ordering = ("-position", "-id")
    sortable_by = ()
    search_fields = ("position",)
    search_help_text = gettext_lazy(
        "An exact position, or the exact id of a listener; otherwise an exact type, or text in "
        "a payload, in the newest 10,000 messages."
    )
    fieldsets = (
        (None, {"fields": ["place", "channel_link", "to", "type", "payload_text"]}),
        (gettext_lazy("Delivery"), {"fields": DELIVERY}),
        (gettext_lazy("Signature"), {"fields": ["sender", "uid"]}),
    )
    readonly_fields = ("place", "channel_link", "to", "payload_text", "delivered")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return MessageList

    def counts_of(self, rows: Sequence[Any]) -> dict[int, DeliveredCount]:
        field: Any = QueuedMessage._meta.get_field("channel")
        for row in rows:
            columns = row.channel_id, row.channel_name
            removed = row.channel_name is None  # there is no foreign key in the database
            found = None if removed else Channel.from_db(row._state.db, ["id", "name"], columns)
            field.set_cached_value(row, found)
        return count_delivered_page(rows)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).select_related("listener")
        return with_user(rows, "owner")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # messages are published from the page of a channel or a listener

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # listeners may have received it

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # retention removes messages, and notifies listeners that missed them

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """
        Find by position and by listener, using an index: never by a scan of the log.

        Any other term is compared with the types and payloads of the newest messages.
        """
        term = search_term.strip()
        if not term:
            return queryset, False
        rows = QueuedMessage.objects
        keys: list[int] = []
        if term.isascii() and term.isdigit() and len(term) <= MAX_DIGITS:
            keys += rows.filter(position=int(term)).values_list("pk", flat=True)
        for listener in Listener.objects.filter(name=term)[:10]:
            own = rows.filter(channel=listener.channel_id, listener=listener, owner=None)
            latest = own.order_by("-listener_id", "-owner_id", "-position")
            keys += latest.values_list("pk", flat=True)[:MAX_FOUND]
        if not keys:
            newest = rows.filter(position__gt=log.head()[0] - MAX_SEARCHED)
            within = newest.filter(Q(type=term) | Q(payload__contains=stored(term)))
            keys += within.order_by("-position").values_list("pk", flat=True)[:MAX_FOUND]
        set_known_count(request, len(set(keys)), "q")
        return queryset.filter(pk__in=keys), False

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        is_filtered = bool(request.GET)  # no note above a filtered list
        waiting = 0 if is_filtered else log.pending()[: MAX_COUNT + 1].count()
        context = {"pending": bounded(waiting) if waiting else "", **(extra_context or {})}
        return super().changelist_view(request, context)

    @admin.display(description=gettext_lazy("position"), ordering="position")
    def place(self, row: QueuedMessage) -> Any:
        return pill("late", _("pending")) if row.position is None else str(row.position)

    @admin.display(description=gettext_lazy("to"))
    def to(self, row: QueuedMessage) -> Any:
        if row.listener_id is not None:
            found = _related(row, "listener")
            return self.link(found) if found else _("a deleted listener")
        if row.owner_id is not None:
            owner = _related(row, "owner")
            text = _("all listeners of %s") % owner if owner else _("a deleted user")
            return self.link(owner, text) if owner else text
        is_notice = row.channel_id == NO_CHANNEL
        text = _("every server process") if is_notice else _("everyone")
        return format_html('<span class="eric-quiet">{}</span>', text)

    @admin.display(description=gettext_lazy("payload"))
    def beginning(self, row: Any) -> Any:
        return preview(row.preview[:PREVIEW_STORED], len(row.preview) > PREVIEW_STORED)

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
    def delivered(self, row: Any) -> Any:
        listed = hasattr(row, "_counts")
        count: DeliveredCount | None = row._counts if listed else count_delivered(row, MAX_COUNT)
        if count is None:
            return None
        numbers = {"some": bounded(count.delivered), "all": bounded(count.addressed)}
        return _("%(some)s of %(all)s") % numbers


def _related(row: QueuedMessage, name: str) -> Any:
    """Return a related object, None if it was removed: the database has no foreign key."""
    key = getattr(row, f"{name}_id")
    if name in row._state.fields_cache:
        return getattr(row, name)
    model = QueuedMessage._meta.get_field(name).related_model
    return model._base_manager.filter(pk=key).first()  # type: ignore[union-attr]
