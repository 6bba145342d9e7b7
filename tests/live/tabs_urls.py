"""The URLs of the site for tabs: the test site, the HTTP API, and what docs/browser.md shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template import Context, Template
from django.urls import include, path

from tests.urls import urlpatterns as site

PAGE = (Path(__file__).parents[2] / "docs" / "browser.md").read_text()


def blocks(language: str) -> list[str]:
    """Return the page's blocks of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


shown: dict[str, Any] = {"__name__": "shown"}
for _block in blocks("python"):
    exec(compile(_block, "docs/browser.md", "exec"), shown)


def page(request: HttpRequest, number: int) -> HttpResponse:
    """Return an HTML block of the page."""
    return HttpResponse(Template(blocks("html")[number]).render(Context()))


urlpatterns = [
    *site,
    path("api/", include("eric_sse_django.api.urls")),
    path("shown/<int:number>", page),
    path("board/stream/", shown["board_stream"]),
    path("orders.json", lambda request: JsonResponse([{"id": 70}], safe=False)),
]
