"""The admins of this app as those of django-unfold."""

from __future__ import annotations

from django.contrib import admin
from unfold.admin import ModelAdmin

PACKAGE = "eric_sse_django."


def use_unfold(site: admin.AdminSite | None = None) -> None:
    """
    Register this app's admins again, each as a subclass of unfold's ModelAdmin too.

    A project's own subclasses are registered by the project: derive these from both classes. For
    a second site call it with that, after its admins are registered.
    """
    site = site or admin.site  # unfold has replaced Django's
    for model, found in list(site._registry.items()):
        kind = type(found)
        if kind.__module__.startswith(PACKAGE) and not issubclass(kind, ModelAdmin):
            site.unregister(model)
            site.register(model, type(kind.__name__, (kind, ModelAdmin), {}))
