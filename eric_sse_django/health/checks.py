"""
The parts as checks of django-health-check 4.

    HealthCheckView.as_view(checks=["eric_sse_django.health.checks.EricSseHub", …])
"""

from __future__ import annotations

import dataclasses

from health_check.base import HealthCheck
from health_check.exceptions import ServiceUnavailable

from eric_sse_django.health.parts import examine


def _check(name: str) -> None:
    """Raise ServiceUnavailable if the part does not work; wait TIMEOUT_S at most."""
    (part,) = examine([name])
    if not part.works:
        raise ServiceUnavailable(part.says)


@dataclasses.dataclass
class EricSseHub(HealthCheck):  # type: ignore[misc]
    """Fails if a hub of this process does not follow the log; passes without streams."""

    def run(self) -> None:
        _check("hub")


@dataclasses.dataclass
class EricSseNotifier(HealthCheck):  # type: ignore[misc]
    """Fails if messages that this process published get no position; passes if there are none."""

    def run(self) -> None:
        _check("notifier")


@dataclasses.dataclass
class EricSseDatabase(HealthCheck):  # type: ignore[misc]
    """Fails if the database of the log does not answer."""

    def run(self) -> None:
        _check("database")


@dataclasses.dataclass
class EricSseLayer(HealthCheck):  # type: ignore[misc]
    """Fails if the channel layer does not carry wakes; passes if none is configured."""

    def run(self) -> None:
        _check("layer")
