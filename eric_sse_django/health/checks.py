"""
The parts as checks of django-health-check, from its version 4 on.

    HealthCheckView.as_view(checks=["eric_sse_django.health.checks.EricSseHub", …])
"""

from __future__ import annotations

import dataclasses

from health_check.base import HealthCheck
from health_check.exceptions import ServiceUnavailable

from eric_sse_django.health.parts import examine


def _check(name: str) -> None:
    """Raise ServiceUnavailable where the part does not work; waits TIMEOUT_S at most."""
    (part,) = examine([name])
    if not part.works:
        raise ServiceUnavailable(part.says)


@dataclasses.dataclass
class EricSseHub(HealthCheck):  # type: ignore[misc]
    """The hubs of this process follow the log; or there are no streams here."""

    def run(self) -> None:
        _check("hub")


@dataclasses.dataclass
class EricSseNotifier(HealthCheck):  # type: ignore[misc]
    """What this process publishes gets its position; or it has published nothing."""

    def run(self) -> None:
        _check("notifier")


@dataclasses.dataclass
class EricSseDatabase(HealthCheck):  # type: ignore[misc]
    """The database of the log answers."""

    def run(self) -> None:
        _check("database")


@dataclasses.dataclass
class EricSseLayer(HealthCheck):  # type: ignore[misc]
    """The channel layer carries wakes; or none is configured."""

    def run(self) -> None:
        _check("layer")
