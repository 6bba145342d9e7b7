"""The same site with the pages of django-debug-toolbar: only while that is in INSTALLED_APPS."""

from django.urls import include, path

from tests.contrib import urls

urlpatterns = [*urls.urlpatterns, path("__debug__/", include("debug_toolbar.urls"))]
