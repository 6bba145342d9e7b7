"""The demo's URLs. The streams are below `events/`: see asgi.py."""

from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView

from demo_project import views

urlpatterns = [
    path("", views.page, name="page"),
    path("", include("demo_project.pages.urls")),
    path("streams/", views.streams, name="streams"),
    path("dispatch/", views.dispatch, name="dispatch"),
    path("broadcast/", views.broadcast, name="broadcast"),
    path("runs/", include("demo_project.work.urls")),
    path("admin/", admin.site.urls),
    # For pages without an icon, such as the admin's, browsers request this path.
    path("favicon.ico", RedirectView.as_view(url=static("demo_project/icon.svg"))),
]
