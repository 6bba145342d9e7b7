"""Include it in the project's urls.py: `path("api/", include("eric_sse_django.api.urls"))`."""

from __future__ import annotations

from django.urls import URLPattern

from eric_sse_django.api.problem import guarded
from eric_sse_django.api.service import NAMESPACE, api

# Ninja's own pages: the schema, its docs, and the root, an empty view.
PAGES = {"openapi-json", "openapi-view", "api-root"}

app_name = NAMESPACE
urlpatterns = api.urls[0]
for pattern in urlpatterns:
    if isinstance(pattern, URLPattern) and pattern.name not in PAGES:
        pattern.callback = guarded(pattern.callback)
