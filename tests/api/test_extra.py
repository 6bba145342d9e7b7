"""The package works where the extras are not installed."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

WITHOUT = """
import sys

for name in (
    *("ninja", "pydantic", "pydantic_core", "celery", "debug_toolbar", "django_tasks"),
    *("opentelemetry", "rest_framework", "sentry_sdk", "structlog", "unfold"),
):
    sys.modules[name] = None  # as Python marks what cannot be imported

NEED_EXTRAS = (
    "eric_sse_django.api.",
    *(
        f"eric_sse_django.contrib.{name}"
        for name in (
            *("celery", "debug_toolbar", "drf.", "ninja", "opentelemetry", "structlog"),
            "unfold.",
        )
    ),
)

import importlib, pkgutil
import django
django.setup()
from django.core.management import call_command
call_command("check")
import eric_sse_django
for module in pkgutil.walk_packages(eric_sse_django.__path__, "eric_sse_django."):
    if not module.name.startswith(NEED_EXTRAS):
        importlib.import_module(module.name)
from django.contrib import admin
from eric_sse_django.models import ApiToken
assert not admin.site.is_registered(ApiToken)
try:
    import eric_sse_django.api.urls
except ModuleNotFoundError as error:
    print("missing", str(error))
"""


def test_only_the_api_and_integrations_need_an_extra():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "ERIC_SSE_TEST_DB": "sqlite:::memory:",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("missing import of ninja")
