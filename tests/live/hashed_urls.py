"""The URLs of the site with hashed static files: pages with the elements of the app."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.urls import path

from tests.live.runs_urls import element as run
from tests.urls import urlpatterns as others

PAGE = """{% load eric_sse static %}<!doctype html><title>Lines</title>
<script type="module" src="{% static 'eric_sse_django/stream-element.js' %}"></script>
{% eric_stream "lines" library="plain" unbound=True %}<p id="old">Old</p>"""


def stream(request: HttpRequest) -> HttpResponse:
    return HttpResponse(engines["django"].from_string(PAGE).render({}, request))


urlpatterns = [*others, path("stream", stream), path("run/<str:run_id>", run)]
