"""The ASGI application of the demo: Django, static files and streams."""

import os

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

from eric_sse_django.routing import with_streams

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo_project.settings")

# Serves static files even without DEBUG. In production, the web server does this.
django_application = ASGIStaticFilesHandler(get_asgi_application())

application = with_streams(django_application)
