"""The data of the screenshots of runs and webhooks."""

from __future__ import annotations

import random
import time
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.urls import reverse
from django.utils import timezone

from docs.screenshots.settings import RUNS_LEASE_S
from eric_sse_django import runs
from eric_sse_django.contrib.webhooks.endpoints import register
from eric_sse_django.contrib.webhooks.models import DeadLetter, Endpoint
from eric_sse_django.models import QueuedMessage
from eric_sse_django.runs import Run
from eric_sse_django.shortcuts import channel

Status = Run.Status
# (kind, title, status, chunks, progress)
RUNS: list[tuple[str, str, Status, int, dict[str, Any] | None]] = [
    ("export", "Orders of October", Status.FINISHED, 240, {"done": 240, "total": 240}),
    ("answer", "Why was order 4711 refunded?", Status.FINISHED, 183, None),
    ("import", "Price list of a supplier", Status.FAILED, 12, {"done": 12, "total": 90}),
    ("answer", "Summarise today's complaints", Status.STOPPED, 61, None),
    ("report", "Stock by shelf", Status.LOST, 30, {"done": 30, "total": 120}),
    ("export", "Invoices of 2026", Status.RUNNING, 310, {"done": 310, "total": 1_200}),
    ("answer", "Which tables are free at eight?", Status.RUNNING, 44, None),
    ("report", "Turnover by hour", Status.WAITING, 0, None),
]
ERRORS = {
    Status.FAILED: "ValueError: line 13: 'price' is not a number",
    Status.LOST: "The lease of the producer has expired.",
}
ENDPOINTS = (
    ("https://hooks.example.com/orders", 0, 200, ""),
    ("https://accounting.example.net/in", 0, 204, ""),
    ("https://old-till.example.org/events", 5, 503, "The answer was 503"),
)
DEAD = 6


def fill(choose: random.Random) -> None:
    """Create runs in each state, endpoints, and messages that one of them refused."""
    people = list(get_user_model().objects.order_by("pk")[:5])
    channel("runs")
    for number, given in enumerate(RUNS):
        _run(choose.choice(people), number, *given)
    for url, attempts, status, error in ENDPOINTS:
        endpoint = register("orders", url)
        Endpoint.objects.filter(pk=endpoint.pk).update(
            attempts=attempts,
            last_status=status,
            last_error=error,
            accepted_at=timezone.now() - timedelta(seconds=9 if not error else 4_000),
            next_attempt_at=timezone.now() + timedelta(minutes=4) if error else None,
        )
    _refused(endpoint)


def _run(owner: Any, number: int, kind: str, title: str, status: Status, *more: Any) -> None:
    chunks, progress = more
    run = runs.start(owner, kind, title=title, thread=f"{kind}s")
    if status == Status.FINISHED:
        with runs.produce(run) as out:
            for index in range(chunks):
                out.write(f"Line {index}\n")
            if progress:
                out.progress(**progress)
            out.result = {"lines": chunks}
    now = timezone.now()
    began = now - timedelta(minutes=70 - 9 * number)
    fields: dict[str, Any] = {
        "status": status,
        "created_at": began,
        "started_at": began if status != Status.WAITING else None,
        "ended_at": None if status in (Status.RUNNING, Status.WAITING) else began,
        "error": ERRORS.get(status, ""),
    }
    if status != Status.WAITING:
        fields |= {"next_index": chunks, "progress": progress, "epoch": 1}
        fields |= {"producer": f"worker-{1 + number % 2}:{2_210 + number}"}
        fields |= {"lease_until": int((time.time() + RUNS_LEASE_S) * 1_000)}
    Run.objects.filter(pk=run.pk).update(**fields)


def _refused(endpoint: Endpoint) -> None:
    rows = QueuedMessage.objects.filter(channel__name="orders", position__isnull=False)
    for number, row in enumerate(rows.order_by("-position")[:DEAD]):
        DeadLetter.objects.create(
            endpoint=endpoint,
            position=row.position,
            type=row.type,
            body=row.payload,
            attempts=12,
            last_status=503,
            last_error="The answer was 503",
            failed_at=timezone.now() - timedelta(minutes=7 * number + 3),
        )


def pages() -> dict[str, str]:
    """Return the paths of the pages by the names of their screenshots."""
    return {
        "runs": reverse("admin:eric_sse_runs_run_changelist"),
        "endpoints": reverse("admin:eric_sse_webhooks_endpoint_changelist"),
        "dead_letters": reverse("admin:eric_sse_webhooks_deadletter_changelist"),
    }
