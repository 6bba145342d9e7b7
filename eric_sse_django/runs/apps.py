from __future__ import annotations

from functools import partial

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class EricSseRunsConfig(AppConfig):
    name = "eric_sse_django.runs"
    label = "eric_sse_runs"
    verbose_name = _("Runs")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Here: models are ready only now. Importing checks registers them.
        from eric_sse_django import conf, log, routing  # noqa: PLC0415
        from eric_sse_django.runs import checks, compaction, doors, reaping  # noqa: F401, PLC0415

        log.add_chore(reaping.reap, reaping.interval_s)
        log.add_chore(compaction.compact_due, compaction.interval_s)
        for name in {doors.PATH, conf.get("RUNS_CHANNEL")}:
            routing.mount(name, partial(doors.application, name))
