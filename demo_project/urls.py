"""The demo's addresses; the streams' are below `events/`, see asgi.py."""

from django.contrib import admin
from django.urls import path

from demo_project import views

urlpatterns = [
    path("", views.page, name="page"),
    path("streams/", views.streams, name="streams"),
    path("dispatch/", views.dispatch, name="dispatch"),
    path("broadcast/", views.broadcast, name="broadcast"),
    path("admin/", admin.site.urls),
]
