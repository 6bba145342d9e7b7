"""The demo's settings, for a site of two servers that know each other by the database only."""

from demo_project.settings import *  # noqa: F403 - a settings module
from demo_project.settings import ERIC_SSE as DEMO

# Without a channel layer a server hears of another's messages at its next poll.
ERIC_SSE = {**DEMO, "POLL_INTERVAL_S": 0.05}
