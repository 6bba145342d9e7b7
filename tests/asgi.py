"""The ASGI application that the servers of the live tests run."""

import os

from django.core.asgi import get_asgi_application

from eric_sse_django.routing import with_streams

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

django_application = get_asgi_application()

application = with_streams(django_application)
