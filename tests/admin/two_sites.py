"""URLs of a project with three admin sites: Django's, a second with all, a third with little."""

from importlib.util import find_spec

from django.contrib.admin import AdminSite, site
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import UserAdmin
from django.urls import URLPattern, URLResolver, include, path

from eric_sse_django import admin, models
from tests.urls import urlpatterns as others

second = AdminSite(name="second")
second.register(models.ApiToken, admin.ApiTokenAdmin)
second.register(models.Channel, admin.ChannelAdmin)
second.register(models.Listener, admin.ListenerAdmin)
second.register(models.Monitor, admin.MonitorAdmin)
second.register(models.QueuedMessage, admin.MessageAdmin)
second.register(get_user_model(), UserAdmin)

third = AdminSite(name="third")
third.register(models.QueuedMessage, admin.MessageAdmin)
third.register(models.Monitor, admin.MonitorAdmin)

urlpatterns: list[URLPattern | URLResolver] = [
    *others,
    path("second/", second.urls),
    path("third/", third.urls),
]
if find_spec("grappelli") is not None:
    urlpatterns.append(path("grappelli/", include("grappelli.urls")))

__all__ = ["site", "urlpatterns"]
