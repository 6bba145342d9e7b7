"""
Django settings of the test site, in pytest and in the server processes it starts.

Environment variables make a server process use what the running test uses:

    ERIC_SSE_TEST_DB        "sqlite::path", "postgres:port:name" or "mariadb:port:name"
    ERIC_SSE_TEST_SETTINGS  JSON object, merged into ERIC_SSE
    ERIC_SSE_TEST_REDIS     port of a Redis for channels_redis' RedisChannelLayer
    ERIC_SSE_TEST_LAYER     JSON object, CHANNEL_LAYERS["default"] as it is
    ERIC_SSE_TEST_SQLITE_TIMEOUT_S  seconds a writer waits for another, 20 without
    ERIC_SSE_TEST_USERS     "sqlite" or "postgres": pytest keeps users in another database
    ERIC_SSE_TEST_MIDDLEWARE  JSON list of middleware, put before the others
"""

import os

from tests import addresses

SECRET_KEY = "tests only: signs nothing that leaves this machine"
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
TIME_ZONE = "UTC"
ROOT_URLCONF = "tests.urls"
ASGI_APPLICATION = "tests.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "static/"
# The real hasher takes 0.2 s per password, on purpose.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

INSTALLED_APPS = [
    "daphne",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "eric_sse_django",
    "eric_sse_django.runs",
    "tests.shop",
    "tests.shop.documented",
    "eric_sse_django.contrib.undelivered",
    "eric_sse_django.contrib.webhooks",
]

MIDDLEWARE = [
    *addresses.from_environment("ERIC_SSE_TEST_MIDDLEWARE", []),
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

if "ERIC_SSE_TEST_DB" in os.environ:
    DATABASES = {"default": addresses.entry_from_address(os.environ["ERIC_SSE_TEST_DB"])}
else:
    from tests import databases  # not in a server process: it imports pytest

    DATABASES = databases.all_entries()
    _router = "SelectedDatabaseRouter" if databases.USERS is None else "UsersElsewhereRouter"
    DATABASE_ROUTERS = [f"tests.router.{_router}"]
if any(entry["ENGINE"].endswith(".mysql") for entry in DATABASES.values()):
    addresses.teach_mysql_driver()

FORCE_SCRIPT_NAME = os.environ.get("ERIC_SSE_TEST_SCRIPT_NAME")
if "ERIC_SSE_TEST_REDIS" in os.environ:
    _layer = {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": [("127.0.0.1", int(os.environ["ERIC_SSE_TEST_REDIS"]))]},
    }
else:
    _layer = {"BACKEND": "channels.layers.InMemoryChannelLayer"}
CHANNEL_LAYERS = {"default": addresses.from_environment("ERIC_SSE_TEST_LAYER", _layer)}

if "ERIC_SSE_TEST_DB" in os.environ:
    # A server process: its tests read in its output what it logs about streams and outages.
    LOGGING = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"stderr": {"class": "logging.StreamHandler"}},
        "loggers": {
            "eric_sse_django": {"handlers": ["stderr"], "level": "INFO", "propagate": False}
        },
    }

ERIC_SSE = addresses.from_environment("ERIC_SSE_TEST_SETTINGS", {})
