"""The demo's settings with the apps of eric_sse_django.contrib, for the type checker."""

from demo_project.settings import *  # noqa: F403 - all of them
from demo_project.settings import INSTALLED_APPS as INSTALLED

INSTALLED_APPS = [
    *INSTALLED,
    "eric_sse_django.contrib.undelivered",
    "eric_sse_django.contrib.webhooks",
]
