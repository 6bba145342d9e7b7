"""
Settings of the demo site. What a project of your own needs is marked with "eric_sse_django:".

    DEMO_DATABASE    the SQLite file (demo.sqlite3 in the checkout)
    DEMO_SECRET_KEY  instead of the key that this checkout generates for itself
    DEMO_HOSTS       more host names to answer to, with commas
    DEMO_DEBUG       1 for Django's error pages
    DEMO_TICKET_S    seconds a ticket is good for that is bound to no session
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
    "daphne",  # eric_sse_django: first, so that runserver serves ASGI, and with it streams
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "eric_sse_django",  # eric_sse_django: the models, the admin, the commands
    "demo_project",
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

# eric_sse_django: what SQLite needs when several threads and processes write.
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DEMO_DATABASE") or BASE_DIR / "demo.sqlite3",
        "OPTIONS": {
            # Else a transaction that reads before it writes fails at once with
            # "database is locked" when another one writes meanwhile.
            "transaction_mode": "IMMEDIATE",
            # Seconds to wait for another writer before that error.
            "timeout": 20,
            # WAL: readers and the writer do not wait for each other. NORMAL: with it, a
            # power cut may undo the last commits, never break the file; a crash of the
            # process loses nothing.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        },
    },
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# eric_sse_django: every setting has a default that works; nothing has to stand here.
ERIC_SSE = {"TICKET_MAX_AGE_S": int(os.environ.get("DEMO_TICKET_S") or 3_600)}

# Cookies know no ports: the usual names would log you out of your own site on this host.
SESSION_COOKIE_NAME = "eric_demo_session"
CSRF_COOKIE_NAME = "eric_demo_csrf"
CSRF_COOKIE_HTTPONLY = True

STATIC_URL = "static/"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"

# Django's default shows errors on the console only with DEBUG.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}
