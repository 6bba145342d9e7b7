"""The admin of runs: their list, and a page with the state, the producer and the output."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext_lazy

from eric_sse_django.admin.formatting import EMPTY_VALUE, age, pill, pretty
from eric_sse_django.admin.pages import CONFIRMED, MAX_NAMED, PagesAdmin
from eric_sse_django.models import users_named, with_user
from eric_sse_django.runs import ending, reading
from eric_sse_django.runs.exceptions import RunEnded
from eric_sse_django.runs.models import Run
from eric_sse_django.runs.reaping import take_over
from eric_sse_django.runs.tasks import enqueue_again

APP = "eric_sse_runs"
# Chunks of a run that its page reads, and characters of them that it shows.
MAX_CHUNKS = 10_000
MAX_CHARACTERS = 100_000
# Runs that a search finds of each kind.
MAX_FOUND = 1_000

Status = Run.Status
PILLS = {
    Status.RUNNING: "on",
    Status.FINISHED: "quiet",
    Status.WAITING: "off",
    Status.FAILED: "late",
    Status.STOPPED: "off",
    Status.LOST: "late",
}


@dataclass(frozen=True)
class Operation:
    """What operators do to a run: `run` returns whether it changed anything."""

    name: str
    label: Any
    effect: Any
    run: Callable[[Run], bool]
    done: Any
    history: Any


def _take_over(run: Run) -> bool:
    try:
        take_over(run)
    except RunEnded:
        return False
    enqueue_again(run)
    return True


OPERATIONS = (
    Operation(
        "stop",
        gettext_lazy("Stop"),
        gettext_lazy(
            "The producer is asked to stop. A run without a producer is stopped at once."
        ),
        ending.stop,
        ngettext_lazy("%(count)d run is stopped.", "%(count)d runs are stopped.", "count"),
        gettext_lazy("Asked to stop."),
    ),
    Operation(
        "take_over",
        gettext_lazy("Take over"),
        gettext_lazy(
            "The present producer can write nothing more. If the run has a task, that is enqueued "
            "again; else the run waits for its next producer. Output continues where it ends now."
        ),
        _take_over,
        ngettext_lazy(
            "%(count)d run waits for its next producer.",
            "%(count)d runs wait for their next producers.",
            "count",
        ),
        gettext_lazy("Taken over."),
    ),
)
BY_NAME = {operation.name: operation for operation in OPERATIONS}


def action(operation: Operation) -> Callable[..., Any]:
    """Return the admin action that runs the operation on the selected runs."""

    def act(modeladmin: RunAdmin, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        rows = modeladmin.selected(request, queryset)
        if rows is None:
            return None
        if CONFIRMED not in request.POST:
            texts = operation.label, operation.effect
            return modeladmin.confirm(request, *texts, rows, operation.name)
        modeladmin.operate(request, operation, rows)
        return None

    act.__name__ = operation.name
    act.short_description = operation.label  # type: ignore[attr-defined]
    act.allowed_permissions = ["operate"]  # type: ignore[attr-defined]
    return act


class StatusFilter(admin.SimpleListFilter):
    title = gettext_lazy("status")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(Status.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        known = self.value() in Status.values
        return queryset.filter(status=self.value()) if known else queryset


@admin.register(Run)
class RunAdmin(PagesAdmin):
    """Shows, stops, takes over and deletes runs; nothing else can be changed."""

    list_display = (
        *("shown_name", "state", "kind", "owner", "next_index", "shown_progress", "producer"),
        "created",
    )
    list_filter = (StatusFilter,)
    ordering = ("-pk",)
    sortable_by = ()
    search_fields = ("name",)  # shows the box; get_search_results() finds
    search_help_text = gettext_lazy(
        "The exact id of a run, the exact thread, or the exact user name of an owner."
    )
    change_list_template = "admin/eric_sse_django/change_list.html"
    change_form_template = "admin/eric_sse_runs/run/change_form.html"
    readonly_fields = (
        *("id_of_run", "state", "owner_link", "shown_progress", "shown_producer", "shown_result"),
        *("error", "created", "started", "ended", "next_index", "epoch", "shown_meta"),
    )
    actions = (*(action(operation) for operation in OPERATIONS), "delete_selected")

    def allowed(self, request: HttpRequest, permission: str) -> bool:
        """As EricAdmin.allowed(): also a permission of runs."""
        is_own = request.user.has_perm(f"{APP}.{permission}")
        return bool(is_own) or super().allowed(request, permission)

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return self.allowed(request, "operate_run")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # a run needs a producer

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # its producer writes it

    def get_urls(self) -> list[URLPattern]:
        view: Any = self.admin_site.admin_view(self.operate_view)
        name = f"{APP}_run_operate"
        return [
            path("<path:object_id>/operate/<str:operation>/", view, name=name),
            *super().get_urls(),
        ]

    def get_queryset(self, request: HttpRequest) -> Any:
        rows = super().get_queryset(request)
        return with_user(rows, "listener__owner")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find by id, thread or owner: each by a query with an index."""
        term = search_term.strip()
        if not term or not term.isprintable():
            return queryset, False
        rows = Run.objects.order_by("-pk").values_list("pk", flat=True)
        owners = list(users_named([term]).values())
        keys = [
            *rows.filter(name=term),
            *rows.filter(thread=term)[:MAX_FOUND],
            *(rows.filter(listener__owner__in=owners)[:MAX_FOUND] if owners else ()),
        ]
        return queryset.filter(pk__in=keys), False

    # The list and the fields -------------------------------------------------------

    @admin.display(description=gettext_lazy("run"))
    def shown_name(self, row: Run) -> str:
        return str(row)

    @admin.display(description=gettext_lazy("status"))
    def state(self, row: Run) -> Any:
        shown = pill(PILLS[Status(row.status)], row.get_status_display())
        if row.stop_requested and not row.has_ended:
            return format_html("{} {}", shown, pill("late", _("stop requested")))
        return shown

    @admin.display(description=gettext_lazy("owner"), empty_value=EMPTY_VALUE)
    def owner(self, row: Run) -> Any:
        return row.listener.owner

    @admin.display(description=gettext_lazy("progress"), empty_value=EMPTY_VALUE)
    def shown_progress(self, row: Run) -> Any:
        progress = row.progress or {}
        done, total, text = (progress.get(name) for name in ("done", "total", "text"))
        numbers = [] if done is None else [done] if total is None else [done, total]
        parts = ["/".join(f"{each:.15g}" for each in numbers)] if numbers else []
        return " ".join([*parts, *([text] if text else [])]) or None

    @admin.display(description=gettext_lazy("created"))
    def created(self, row: Run) -> Any:
        return age(row.created_at)

    @admin.display(description=gettext_lazy("started"))
    def started(self, row: Run) -> Any:
        return age(row.started_at)

    @admin.display(description=gettext_lazy("ended"))
    def ended(self, row: Run) -> Any:
        return age(row.ended_at)

    @admin.display(description=gettext_lazy("id"))
    def id_of_run(self, row: Run) -> Any:
        return self.link(row.listener, row.id)

    @admin.display(description=gettext_lazy("owner"), empty_value=EMPTY_VALUE)
    def owner_link(self, row: Run) -> Any:
        return self.link(row.listener.owner) if row.listener.owner else None

    @admin.display(description=gettext_lazy("producer"), empty_value=EMPTY_VALUE)
    def shown_producer(self, row: Run) -> Any:
        return row.producer or None

    @admin.display(description=gettext_lazy("result"), empty_value=EMPTY_VALUE)
    def shown_result(self, row: Run) -> Any:
        return None if row.result is None else _json(row.result)

    @admin.display(description=gettext_lazy("meta"), empty_value=EMPTY_VALUE)
    def shown_meta(self, row: Run) -> Any:
        return _json(row.meta) if row.meta else None

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        now = [("id_of_run", "state"), ("kind", "title", "thread"), "owner_link"]
        now += ["shown_progress", "shown_result", "error", "shown_meta"]
        work = [("shown_producer", "epoch", "next_index"), ("created", "started", "ended")]
        return [(None, {"fields": now}), (gettext_lazy("Producer"), {"fields": work})]

    # The page of one run ------------------------------------------------------------

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        row = context["original"]
        may_read = self.allowed(request, "view_queuedmessage")
        context.update(
            tools=self.tools(request, row),
            may_read=may_read,
            output=output_of(row) if may_read else "",
        )
        return super().render_change_form(request, context, *args, **kwargs)

    def tools(self, request: HttpRequest, row: Run) -> list[dict[str, Any]]:
        """Return the links above the page: each leads to a page with one button."""
        if row.has_ended or not self.has_operate_permission(request):
            return []
        return [
            {
                "label": each.label,
                "url": self.url(row, "operate", row.pk, each.name),
                "is_careful": True,
            }
            for each in OPERATIONS
        ]

    def operate_view(
        self, request: HttpRequest, object_id: str, operation: str
    ) -> HttpResponseBase:
        """Show a confirmation, then run one of OPERATIONS and return to the run's page."""
        row = self.object_for(request, object_id, self.has_operate_permission(request))
        if row is None or operation not in BY_NAME:
            return self.missing(request, object_id)
        chosen = BY_NAME[operation]
        if request.method != "POST":
            return self.confirm(request, chosen.label, chosen.effect, [row])
        self.operate(request, chosen, [row])
        return redirect(self.url(row, "change", row.pk))

    def operate(self, request: HttpRequest, operation: Operation, rows: Sequence[Run]) -> None:
        """Run the operation, add it to the history of the rows, and show how many it changed."""
        changed = [row for row in rows if operation.run(row)]
        if changed:
            self.record(request, changed, operation.history)
        text = str(operation.done % {"count": len(changed)})
        if len(changed) < len(rows):
            text += " " + _("The others have ended.")
        self.message_user(request, text, messages.SUCCESS if changed else messages.WARNING)

    @staticmethod
    def names_of(rows: Sequence[Any]) -> dict[str, Any]:
        named = [str(row) for row in rows[:MAX_NAMED]]
        return {"named": named, "unnamed": len(rows) - len(named)}


def output_of(run: Run) -> str:
    """Return the run's output as text: values as JSON, each on a line; cut if it is long."""
    parts: list[str] = []
    size, was_text = 0, True
    for chunk in islice(reading.read(run), MAX_CHUNKS):
        text = chunk.value if chunk.is_text else json.dumps(chunk.value, ensure_ascii=False)
        if parts and not (was_text and chunk.is_text):
            parts.append("\n")
        parts.append(text)
        was_text = chunk.is_text
        size += len(text)
        if size > MAX_CHARACTERS:
            parts.append("…")
            break
    return "".join(parts).encode(errors="backslashreplace").decode()


def _json(value: Any) -> str:
    return format_html(
        '<pre class="eric-payload">{}</pre>', pretty(json.dumps(value, default=str))
    )
