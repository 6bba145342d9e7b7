"""The admin of listeners: their list with its actions, and the page of one listener."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from eric_sse_django import conf, reports
from eric_sse_django.admin.base import APP, WithCounts
from eric_sse_django.admin.filters import (
    LATE_AFTER,
    AcknowledgementFilter,
    ChannelFilter,
    LaggingFilter,
    OnlineFilter,
    StateFilter,
)
from eric_sse_django.admin.formatting import (
    EMPTY_VALUE,
    MAX_COUNT,
    age,
    bounded,
    pill,
    preview,
    running,
    since,
)
from eric_sse_django.admin.operations import BY_NAME, OPERATIONS, Operation
from eric_sse_django.admin.pages import CONFIRMED, PagesAdmin
from eric_sse_django.database import DatabaseListener, operations
from eric_sse_django.database.rows import check_room, create_listener
from eric_sse_django.exception import TooManyListeners
from eric_sse_django.message import Message
from eric_sse_django.models import (
    Listener,
    OpenStream,
    QueuedMessage,
    users_are_here,
    users_named,
    with_user,
)
from eric_sse_django.shortcuts import stream_url

if TYPE_CHECKING:  # generic for the type checker only
    AnyModelForm = forms.ModelForm[Any]
else:
    AnyModelForm = forms.ModelForm

# Messages of each kind, and streams, on the page of a listener.
MAX_SHOWN = 20


class ListenerForm(AnyModelForm):
    """The form to add a listener."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "name" in self.fields:
            self.fields["name"].required = False
            self.fields["name"].help_text = _(
                "Leave empty for a random id that cannot be guessed."
            )
        if "acknowledgement" in self.fields:
            self.fields["acknowledgement"].required = False  # the model has a default

    def clean(self) -> Any:
        found = super().clean() or self.cleaned_data
        if found.get("channel") is not None:
            try:
                check_room(found["channel"], found.get("name", ""))
            except TooManyListeners as error:
                text = _("The channel has %(listeners)s listeners; at most %(most)s are allowed.")
                self.add_error("channel", forms.ValidationError(text, params=vars(error)))
        return found


@dataclass
class ListenerCounts:
    """A listener's queue, and the number of its open streams by server process."""

    depth: reports.Depth = field(default_factory=reports.Depth)
    streams: dict[str, int] = field(default_factory=dict)


def counts_with(streams: Sequence[OpenStream], listener: Listener) -> ListenerCounts:
    """Return the counts of a listener whose open streams have all been read. One query."""
    names = sorted(stream.process.name for stream in streams)
    depth = reports.depths([listener], MAX_COUNT)[listener.pk]
    return ListenerCounts(depth, dict(Counter(names)))


def action(operation: Operation) -> Callable[..., Any]:
    """Return the admin action that runs the operation on the selected listeners."""

    def act(modeladmin: ListenerAdmin, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        rows = modeladmin.selected(request, queryset.select_related("channel"))
        if rows is None:
            return None
        if operation.is_confirmed and CONFIRMED not in request.POST:
            texts = operation.label, operation.effect
            return modeladmin.confirm(request, *texts, rows, operation.name)
        modeladmin.operate(request, operation, rows)
        return None

    act.__name__ = operation.name
    act.short_description = operation.label  # type: ignore[attr-defined]
    act.allowed_permissions = ["operate"]  # type: ignore[attr-defined]
    return act


@admin.register(Listener)
class ListenerAdmin(WithCounts, PagesAdmin):
    """Shows, adds, deletes and operates listeners; their fields cannot be changed."""

    list_display = ("name", "online", "channel", "owner", "queue", "oldest", "seen", "state")
    list_filter = (OnlineFilter, StateFilter, ChannelFilter, AcknowledgementFilter, LaggingFilter)
    ordering = ("channel", "name")
    sortable_by = ("seen",)  # the default order uses the index on channel and name
    search_help_text = gettext_lazy(
        "The exact id of a listener or a channel, or the exact user name of an owner."
    )
    form = ListenerForm
    autocomplete_fields = ("channel",)
    raw_id_fields = ("owner",)
    readonly_fields = (
        *("online", "state", "owner_link", "queue", "oldest", "seen", "cursor", "start", "floor"),
        *("created_at", "channel_link"),
    )
    actions = (*(action(operation) for operation in OPERATIONS), "send", "delete_selected")

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return self.allowed(request, "operate_listener")

    def has_sign_permission(self, request: HttpRequest) -> bool:
        return self.allowed(request, "sign_listener")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # channel and id are in URLs, and the hubs write the cursor

    def get_urls(self) -> list[URLPattern]:
        def page(pattern: str, view: Any, name: str) -> URLPattern:
            wrapped = self.admin_site.admin_view(view)
            url: URLPattern = path(
                f"<path:object_id>/{pattern}", wrapped, name=f"{APP}_listener_{name}"
            )
            return url

        return [
            page("operate/<str:operation>/", self.operate_view, "operate"),
            page("send/", self.send_view, "send"),
            page("stream-url/", self.stream_url_view, "stream_url"),
            *super().get_urls(),
        ]

    def get_queryset(self, request: HttpRequest) -> Any:
        return with_user(super().get_queryset(request).select_related("channel"), "owner")

    # The list ---------------------------------------------------------------------

    def counts_of(self, rows: Sequence[Listener]) -> dict[int, ListenerCounts]:
        """Two queries."""
        depths = reports.depths(rows, MAX_COUNT)
        counts = {pk: ListenerCounts(depth) for pk, depth in depths.items()}
        streams = (
            OpenStream.objects.online()
            .filter(listener__in=list(counts))
            .values_list("listener_id", "process__name")
            .annotate(streams=Count("pk"))
            .order_by("process__name")
        )
        for listener, process, number in streams:
            by_process = counts[listener].streams
            by_process[process] = by_process.get(process, 0) + number
        return counts

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

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        owner = f"owner__{get_user_model().USERNAME_FIELD}__exact"
        return ["name__exact", "channel__name__exact", *([owner] if users_are_here() else [])]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find also by owner: with a separate query if users are in another database."""
        found, may_repeat = super().get_search_results(request, queryset, search_term)
        term = search_term.strip()
        # PostgreSQL raises ValueError for a NUL in a query's parameter.
        if not users_are_here() and term and term.isprintable():
            found |= queryset.filter(owner__in=users_named([term]).values())
        return found, may_repeat

    # The page of one listener -----------------------------------------------------

    def get_changeform_initial_data(self, request: HttpRequest) -> Any:
        return {"running": True, **super().get_changeform_initial_data(request)}

    def save_model(self, request: HttpRequest, obj: Listener, form: Any, change: bool) -> None:
        """Add the listener at the head of the log, as add_listener() does."""
        columns = obj.channel, obj.name or None, obj.owner
        row = create_listener(*columns, obj.running, obj.acknowledgement)
        obj.__dict__.update(row.__dict__)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return [(None, {"fields": ["channel", "name", "owner", "running", "acknowledgement"]})]
        now = [("online", "state"), ("queue", "oldest", "seen"), ("channel_link", "owner_link")]
        positions = ["created_at", "start", "cursor", "floor", "acknowledgement"]
        return [
            (None, {"fields": now}),
            (gettext_lazy("Position in the log"), {"fields": positions, "classes": ["collapse"]}),
        ]

    @admin.display(description=gettext_lazy("owner"), empty_value="-")
    def owner_link(self, row: Listener) -> Any:
        return self.link(row.owner) if row.owner else None

    @admin.display(description=gettext_lazy("channel"))
    def channel_link(self, row: Listener) -> Any:
        return self.link(row.channel)

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if context["original"] is not None:
            context.update(self.details(request, context["original"]))
        return super().render_change_form(request, context, *args, **kwargs)

    def details(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Return what the page shows besides the fields: tools, messages and streams."""
        may_read = self.allowed(request, "view_queuedmessage")
        waiting, served = reports.around(row, MAX_SHOWN) if may_read else ([], [])
        online = OpenStream.objects.online().filter(listener=row)
        online = online.select_related("process").order_by("-opened_at")
        streams = list(online[: MAX_SHOWN + 1])
        if len(streams) <= MAX_SHOWN:  # then no query is needed to count them
            row._counts = counts_with(streams, row)
        return {
            "tools": self.tools(request, row),
            "may_read": may_read,
            "waiting": [self.row_of(message) for message in waiting],
            "served": [self.row_of(message) for message in served],
            "streams": [(stream, since(stream.opened_at)) for stream in streams[:MAX_SHOWN]],
        }

    def row_of(self, message: QueuedMessage) -> dict[str, Any]:
        """Return what the page's tables show of a message."""
        return {
            "message": message,
            "payload": preview(message.payload),
            "age": age(message.created_at),
            "url": self.url(message, "change", message.pk),
        }

    def tools(self, request: HttpRequest, row: Listener) -> list[dict[str, Any]]:
        """Return the links above the page: each leads to a page with one button."""

        def tool(label: Any, page: str, *args: Any, is_careful: bool = False) -> dict[str, Any]:
            url = self.url(row, page, row.pk, *args)
            return {"label": label, "url": url, "is_careful": is_careful}

        found = []
        if self.has_operate_permission(request):
            hidden = "start" if row.running else "stop"
            found += [
                tool(op.label, "operate", op.name, is_careful=op.is_confirmed)
                for op in OPERATIONS
                if op.name != hidden
            ]
        if self.has_publish_permission(request):
            found.append(tool(_("Send a message"), "send"))
        if self.has_sign_permission(request):
            found.append(tool(_("New stream URL"), "stream_url"))
        return found

    def url_of(self, row: Listener) -> str:
        return self.url(row, "change", row.pk)

    # Operations, messages and URLs ------------------------------------------------

    def operate_view(
        self, request: HttpRequest, object_id: str, operation: str
    ) -> HttpResponseBase:
        """Show a confirmation, then run one of OPERATIONS and return to the listener's page."""
        row = self.object_for(request, object_id, self.has_operate_permission(request))
        if row is None or operation not in BY_NAME:
            return self.missing(request, object_id)
        chosen = BY_NAME[operation]
        if request.method != "POST":
            return self.confirm(request, chosen.label, chosen.effect, [row])
        self.operate(request, chosen, [row])
        return redirect(self.url_of(row))

    def operate(self, request: HttpRequest, operation: Operation, rows: list[Listener]) -> None:
        """Run the operation, add it to the history of the rows, and show how many it changed."""
        count = operation.run(rows)
        self.record(request, rows, operation.history)
        text = operation.done % {"count": count}
        if 0 < count < len(rows):
            others = _("The others needed no change.")
            text = f"{text} {others}"
        self.message_user(request, text, messages.SUCCESS if count else messages.WARNING)

    @admin.action(description=gettext_lazy("Send a message"), permissions=["publish"])
    def send(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponseBase | None:
        rows = self.selected(request, queryset.select_related("channel"))
        return None if rows is None else self.send_to(request, rows)

    def send_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Show the form of a message to this listener, then send it."""
        row = self.object_for(request, object_id, self.has_publish_permission(request))
        if row is None:
            return self.missing(request, object_id)
        return self.send_to(request, [row], self.url_of(row)) or redirect(self.url_of(row))

    def send_to(
        self, request: HttpRequest, rows: list[Listener], back: str | None = None
    ) -> HttpResponseBase | None:
        """Return the page of the form; once the message is sent, a redirect to `back` or None."""

        def publish(message: Message, expires_in_s: int | None) -> str:
            operations.send(rows, message, expires_in_s)
            self.record(request, rows, _("Sent a message of type “%s”.") % message.type)
            text = ngettext(
                "Message sent to %(count)d listener.",
                "Message sent to %(count)d listeners.",
                len(rows),
            )
            return text % {"count": len(rows)}

        hidden = [] if back else self.hidden_fields("send", rows)
        context = {"hidden": hidden, **self.names_of(rows)}
        row = rows[0] if back else None
        return self.compose(request, _("Send a message"), publish, back, row, **context)

    def stream_url_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Show a confirmation, then a signed URL, once: it is not stored, for it gives access."""
        row = self.object_for(request, object_id, self.has_sign_permission(request))
        if row is None:
            return self.missing(request, object_id)
        if request.method != "POST":
            effect = _("Anyone who has the URL can receive the messages of this listener.")
            return self.confirm(request, _("New stream URL"), effect, [row])
        expires_at = timezone.now() + timedelta(seconds=conf.get("TICKET_MAX_AGE_S"))
        url = request.build_absolute_uri(stream_url(DatabaseListener(row), ticket=True))
        self.record(request, [row], _("Created a signed stream URL."))
        context = {"url": url, "expires_at": expires_at}
        # admin_view() adds headers that prevent caching.
        return self.page(request, "stream_url.html", _("Stream URL"), row, **context)
