from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import post_delete
from django.utils.translation import gettext_lazy as _


class EricSseConfig(AppConfig):
    name = "eric_sse_django"
    label = "eric_sse_django"
    verbose_name = _("Server-Sent Events")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Importing checks registers them. Here, for models are ready only now.
        from eric_sse_django import checks  # noqa: F401, PLC0415
        from eric_sse_django.database import removal  # noqa: PLC0415
        from eric_sse_django.models import Channel, Listener  # noqa: PLC0415

        post_delete.connect(removal.on_listener_deleted, sender=Listener)
        post_delete.connect(removal.on_channel_deleted, sender=Channel)
