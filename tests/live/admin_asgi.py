"""The test site's application with the admin's static files, with any value of DEBUG."""

from django.conf import settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler

from tests.asgi import application as streams_and_django
from tests.asgi import django_application

static = ASGIStaticFilesHandler(django_application)


async def application(scope, receive, send):
    is_static = scope["type"] == "http" and scope["path"].startswith("/static/")
    is_static = is_static and settings.STATIC_ROOT is None  # else WhiteNoise serves them
    await (static if is_static else streams_and_django)(scope, receive, send)
