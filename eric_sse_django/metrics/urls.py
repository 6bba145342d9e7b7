"""
The metrics of the process that answers, as text.

    path("metrics/", include("eric_sse_django.metrics.urls"))
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import path
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from eric_sse_django.health.urls import read_only
from eric_sse_django.metrics.collector import EricSseCollector


@read_only
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer with this app's metrics only, in the format that `Accept` names. No query."""
    registry = CollectorRegistry()
    registry.register(EricSseCollector())
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(registry), content_type=content_type)


app_name = "eric_sse_metrics"

urlpatterns = [path("", metrics, name="metrics")]
