from __future__ import annotations

from functools import partial

from django.apps import AppConfig
from django.db.models.signals import post_delete
from django.utils.translation import gettext_lazy as _


class EricSseRunsConfig(AppConfig):
    name = "eric_sse_django.runs"
    label = "eric_sse_runs"
    verbose_name = _("Runs")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Here: models are ready only now.
        from eric_sse_django import conf, log, routing  # noqa: PLC0415
        from eric_sse_django.runs import (  # noqa: PLC0415
            compaction,
            doors,
            ending,
            reaping,
        )
        from eric_sse_django.runs.models import Run  # noqa: PLC0415

        post_delete.connect(ending.on_run_deleted, sender=Run)
        log.add_chore(reaping.reap, reaping.interval_s)
        log.add_chore(compaction.compact_due, compaction.interval_s)
        for name in {doors.PATH, conf.get("RUNS_CHANNEL")}:
            routing.mount(name, partial(doors.application, name))
