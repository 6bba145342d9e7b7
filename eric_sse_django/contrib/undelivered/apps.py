from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class UndeliveredConfig(AppConfig):
    name = "eric_sse_django.contrib.undelivered"
    label = "eric_sse_undelivered"
    verbose_name = _("Undelivered messages")
    default_auto_field = "django.db.models.BigAutoField"
