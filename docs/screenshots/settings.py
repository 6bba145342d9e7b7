"""The demo's settings, for two servers that are connected only by the database."""

from demo_project.settings import *  # noqa: F403 - a settings module
from demo_project.settings import ERIC_SSE as DEMO

# Without a channel layer, a server finds another server's messages at its next poll.
ERIC_SSE = {**DEMO, "POLL_INTERVAL_S": 0.05}
