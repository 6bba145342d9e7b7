"""
Settings of the demo site. "eric_sse_django:" marks the settings that your own project needs.

Environment variables:

    DEMO_DATABASE    the SQLite file (default: demo.sqlite3 in the checkout)
    DEMO_SECRET_KEY  the SECRET_KEY (default: generated once for this checkout)
    DEMO_HOSTS       additional allowed host names, separated by commas
    DEMO_DEBUG       1 to show Django's error pages
    DEMO_TICKET_S    seconds for which a ticket is valid if it is not bound to a session
"""

import os
from pathlib import Path

from demo_project.secret import secret_key

BASE_DIR = Path(__file__).parents[1]

SECRET_KEY = secret_key(BASE_DIR / "demo_project" / ".secret_key")
DEBUG = os.environ.get("DEMO_DEBUG") == "1"
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
ALLOWED_HOSTS += [host for host in os.environ.get("DEMO_HOSTS", "").split(",") if host]

INSTALLED_APPS = [
    "daphne",  # eric_sse_django: first, so that runserver uses ASGI, which streams need
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "eric_sse_django",  # eric_sse_django: the models, the admin, the commands
    "eric_sse_django.runs",  # eric_sse_django: output that outlives its request
    "demo_project",
    "demo_project.pages",  # a page for each idea
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "demo_project.middleware.content_security_policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "demo_project.urls"
ASGI_APPLICATION = "demo_project.asgi.application"

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

# eric_sse_django: the options that SQLite needs if several threads and processes write.
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DEMO_DATABASE") or BASE_DIR / "demo.sqlite3",
        "OPTIONS": {
            # Without it, a transaction that reads before it writes fails at once with
            # "database is locked" if another transaction writes in between.
            "transaction_mode": "IMMEDIATE",
            # Seconds to wait for another writer before that error.
            "timeout": 20,
            # WAL: readers and the writer do not wait for each other. NORMAL: a power failure
            # may lose the last commits, but never corrupts the file; a crash of the process
            # loses nothing.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        },
    },
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# eric_sse_django: every setting has a working default; none is required.
ERIC_SSE = {
    "TICKET_MAX_AGE_S": int(os.environ.get("DEMO_TICKET_S") or 3_600),
    # Short, because the page has a button that kills the worker: the next one waits as long.
    "RUNS_LEASE_S": 3,
    # SQLite: how soon a server finds what the worker process wrote.
    "SQLITE_LOOK_INTERVAL_S": 0.05,
}

# Cookies ignore the port: Django's default names would end your session on another site of
# this host.
SESSION_COOKIE_NAME = "eric_demo_session"
CSRF_COOKIE_NAME = "eric_demo_csrf"
CSRF_COOKIE_HTTPONLY = True

STATIC_URL = "static/"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"

# By default, Django shows errors on the console only with DEBUG.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}
