from __future__ import annotations

from django.apps import AppConfig
from django.conf import settings
from django.contrib.auth.signals import user_logged_out
from django.db.models.signals import post_delete, post_save
from django.utils.translation import gettext_lazy as _


class EricSseConfig(AppConfig):
    name = "eric_sse_django"
    label = "eric_sse_django"
    verbose_name = _("Server-Sent Events")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Importing checks registers them. Here, for models are ready only now.
        from eric_sse_django import checks  # noqa: F401, PLC0415
        from eric_sse_django.authorization import revocation  # noqa: PLC0415
        from eric_sse_django.database import removal  # noqa: PLC0415
        from eric_sse_django.models import Channel, Listener  # noqa: PLC0415

        post_delete.connect(removal.on_listener_deleted, sender=Listener)
        post_delete.connect(removal.on_channel_deleted, sender=Channel)
        user_logged_out.connect(revocation.on_logged_out)
        post_save.connect(revocation.on_user_saved, sender=settings.AUTH_USER_MODEL)
        post_delete.connect(revocation.on_user_deleted, sender=settings.AUTH_USER_MODEL)
