"""Django settings of this app's server under test."""

import json
import os

from benchmarks import database

SECRET_KEY = "benchmarks only: signs nothing that leaves this machine"
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "eric_sse_django"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": database.entry()}
ROOT_URLCONF = "benchmarks.urls"
ASGI_APPLICATION = "benchmarks.durable.application"
LOGGING_CONFIG = None
ERIC_SSE = json.loads(os.environ.get("ERIC_SSE_BENCH_SETTINGS", "{}"))

if "ERIC_SSE_BENCH_REDIS" in os.environ:  # a port: wakes between processes
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [("127.0.0.1", int(os.environ["ERIC_SSE_BENCH_REDIS"]))]},
        }
    }
