"""This app, as a site would serve it."""

import os

from django.core.asgi import get_asgi_application

from eric_sse_django.routing import with_streams

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")

django_application = get_asgi_application()

application = with_streams(django_application)
