"""
Publishing over HTTP: channels, listeners, messages and queues for programs in any language.

Needs the extra: `pip install eric-sse-django[api]`. Mount `eric_sse_django.api.urls`; nothing
else of the package imports this one.
"""
