from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class EricSseRunsConfig(AppConfig):
    name = "eric_sse_django.runs"
    label = "eric_sse_runs"
    verbose_name = _("Runs")
    default_auto_field = "django.db.models.BigAutoField"
