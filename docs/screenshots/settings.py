"""The demo's settings, for two servers that are connected only by the database."""

from demo_project.settings import *  # noqa: F403 - a settings module
from demo_project.settings import ERIC_SSE as DEMO
from demo_project.settings import INSTALLED_APPS as APPS

INSTALLED_APPS = [*APPS, "eric_sse_django.contrib.webhooks"]
# Longer than the command takes: the runs that are shown as running have no producer.
RUNS_LEASE_S = 900.0
# Without a channel layer, a server finds another server's messages at its next poll.
ERIC_SSE = {**DEMO, "POLL_INTERVAL_S": 0.05, "RUNS_LEASE_S": RUNS_LEASE_S}
