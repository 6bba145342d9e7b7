"""
The HTTP API: channels, listeners, messages and queues for programs in any language.

Needs the extra: `pip install eric-sse-django[api]`. Include `eric_sse_django.api.urls`; nothing
else in the package imports this one.
"""
