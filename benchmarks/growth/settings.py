"""Django settings of a process that uses one of the two databases."""

import os

from tests import addresses

SECRET_KEY = "benchmarks only: signs nothing that leaves this machine"
USE_TZ = True
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "eric_sse_django"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": addresses.entry_from_address(os.environ["ERIC_SSE_GROWTH_DB"])}
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
LOGGING_CONFIG = None
ERIC_SSE = {
    # No poll and no trim between the measured operations.
    "POLL_INTERVAL_S": 60,
    "TRIM_INTERVAL_S": 0,
    # Listeners stay as far behind as they are.
    "MAX_WAITING_MESSAGES": None,
}
