"""The live monitor's place among the models: the admin lists it, and asks for its permission."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from eric_sse_django.models.presence import ServerProcess


class Monitor(ServerProcess):
    """No rows of its own. Its one permission, view_monitor, shows payloads of all channels."""

    class Meta:
        proxy = True
        default_permissions = ("view",)
        verbose_name = _("live monitor")
        verbose_name_plural = _("live monitor")
