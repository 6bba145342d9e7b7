"""A WSGI application whose import publishes: in gunicorn's master, when it preloads."""

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()

from django.db import connections  # noqa: E402 - models need the line above

from eric_sse_django import notifier  # noqa: E402
from eric_sse_django.shortcuts import publish  # noqa: E402

publish("orders", "number", 0)
notifier.flush()
# As for every query before a fork: the children would share this thread's connection.
connections.close_all()
