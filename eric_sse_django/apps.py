from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import AppConfig, apps
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.core.signals import request_started
from django.db.models.signals import post_delete, post_migrate, post_save, pre_delete, pre_save
from django.utils.translation import gettext_lazy as _


class EricSseConfig(AppConfig):
    name = "eric_sse_django"
    label = "eric_sse_django"
    verbose_name = _("Server-Sent Events")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Here: models are ready only now. Importing checks registers them.
        from eric_sse_django import checks, stream_urls  # noqa: F401, PLC0415
        from eric_sse_django.authorization import events  # noqa: PLC0415
        from eric_sse_django.database import configured, operations, orphans  # noqa: PLC0415
        from eric_sse_django.models import Channel, Listener  # noqa: PLC0415

        request_started.connect(stream_urls.on_request)
        post_migrate.connect(configured.create_missing, sender=self)
        user_logged_in.connect(events.on_logged_in)
        user_logged_out.connect(events.on_logged_out)
        for model in _with_proxies(get_user_model()):
            pre_save.connect(events.before_user_saved, sender=model)
            post_save.connect(events.on_user_saved, sender=model)
            pre_delete.connect(events.before_deleted, sender=model)
            post_delete.connect(events.on_user_deleted, sender=model)
            post_delete.connect(orphans.on_user_deleted, sender=model)
        for model in _with_proxies(Channel):
            pre_save.connect(events.before_channel_saved, sender=model)
            post_save.connect(events.on_channel_saved, sender=model)
            post_save.connect(configured.on_loaded, sender=model)
            pre_delete.connect(events.before_deleted, sender=model)
            post_delete.connect(events.on_channel_deleted, sender=model)
            post_delete.connect(operations.on_channel_deleted, sender=model)
        for model in _with_proxies(Listener):
            pre_save.connect(events.before_listener_saved, sender=model)
            post_save.connect(events.on_listener_saved, sender=model)
            post_save.connect(configured.on_loaded, sender=model)
            pre_delete.connect(events.before_deleted, sender=model)
            post_delete.connect(operations.on_listener_deleted, sender=model)


def _with_proxies(model: Any) -> Iterator[Any]:
    """Yield a model and its proxies: Django sends signals for the class in use."""
    return (each for each in apps.get_models() if issubclass(each, model))
