"""The parts as checks of django-health-check."""

import json

import pytest
from django.test import AsyncRequestFactory
from health_check.views import HealthCheckView

CHECKS = [
    f"eric_sse_django.health.checks.EricSse{name}"
    for name in ("Hub", "Notifier", "Database", "Layer")
]


async def report():
    view = HealthCheckView.as_view(checks=CHECKS)
    response = await view(AsyncRequestFactory().get("/", {"format": "json"}))
    return response.status_code, json.loads(response.content)


async def test_every_check_passes_in_a_process_that_works(fake_parts):
    status, checks = await report()
    assert status == 200
    assert checks == {
        "EricSseHub()": "OK",
        "EricSseNotifier()": "OK",
        "EricSseDatabase()": "OK",
        "EricSseLayer()": "OK",
    }


@pytest.mark.parametrize("name", ["database", "layer"])
async def test_a_part_that_fails_is_reported_until_it_works(fake_parts, name):
    fake_parts.fail(name)
    status, checks = await report()
    assert status == 500
    assert checks.pop(f"EricSse{name.title()}()") == "Unavailable: OperationalError"
    assert set(checks.values()) == {"OK"}
    fake_parts.failures.clear()
    assert (await report())[0] == 200
