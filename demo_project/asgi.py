"""The ASGI application of the demo: Django, its static files, and the streams."""

import os

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

from eric_sse_django.routing import with_streams

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo_project.settings")

# Serves static files whatever DEBUG says. A site of your own leaves that to its web server.
django_application = ASGIStaticFilesHandler(get_asgi_application())

application = with_streams(django_application)
