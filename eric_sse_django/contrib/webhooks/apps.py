from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import post_delete
from django.utils.translation import gettext_lazy as _


class WebhooksConfig(AppConfig):
    name = "eric_sse_django.contrib.webhooks"
    label = "eric_sse_webhooks"
    verbose_name = _("Webhooks")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Here: it registers itself, and models are ready only now.
        from eric_sse_django.contrib.webhooks import checks, endpoints  # noqa: F401, PLC0415

        post_delete.connect(endpoints.on_deleted, sender=self.get_model("Endpoint"))
