"""Which database holds the log."""

from eric_sse_django.models.alias import database

__all__ = ["database"]
