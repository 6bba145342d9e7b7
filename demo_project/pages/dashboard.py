"""The dashboard: a thread publishes the machine's load once a second; this page watches."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache

from demo_project.pages.shown import shown
from demo_project.views import loads
from eric_sse_django.shortcuts import cursor


@never_cache
def page(request: HttpRequest) -> HttpResponse:
    head = cursor()  # before the samples: later ones come by the stream
    context = {"cursor": head, "loads": loads(head)}
    return shown(
        request, "dashboard", ["dashboard.py", "dashboard.html", "dashboard.js"], **context
    )
