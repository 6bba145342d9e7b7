"""Django settings of the server under test."""

import os

SECRET_KEY = "benchmarks only: signs nothing that leaves this machine"
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "eric_sse_django"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["ERIC_SSE_BENCH_DB"],
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}
ROOT_URLCONF = "benchmarks.urls"
ASGI_APPLICATION = "benchmarks.durable.application"
LOGGING_CONFIG = None
