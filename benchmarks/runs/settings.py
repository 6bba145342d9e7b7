"""Django settings of the site with all ways."""

from benchmarks.settings import *  # noqa: F403

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "eric_sse_django",
    "eric_sse_django.runs",
]
ROOT_URLCONF = "benchmarks.runs.site"
ASGI_APPLICATION = "benchmarks.runs.site.application"
# SQLite's files are checked as often as the output is written.
ERIC_SSE = {"SQLITE_LOOK_INTERVAL_S": 0.02, **ERIC_SSE}  # noqa: F405
