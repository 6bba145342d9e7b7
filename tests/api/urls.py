"""The API, mounted as a project mounts it."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/", include("eric_sse_django.api.urls")),
]
