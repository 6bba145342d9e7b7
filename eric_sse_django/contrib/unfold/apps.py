from __future__ import annotations

from django.apps import AppConfig


class UnfoldConfig(AppConfig):
    name = "eric_sse_django.contrib.unfold"
    label = "eric_sse_unfold"

    def ready(self) -> None:
        # Here: the admin of other apps is registered only now.
        from eric_sse_django.contrib.unfold.sites import use_unfold  # noqa: PLC0415

        use_unfold()
