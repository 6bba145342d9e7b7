from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class EricSseConfig(AppConfig):
    name = "eric_sse_django"
    label = "eric_sse_django"
    verbose_name = _("Server-Sent Events")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from eric_sse_django import checks  # noqa: F401, PLC0415 - registers the system checks
