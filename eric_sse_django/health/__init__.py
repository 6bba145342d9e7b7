"""Whether this process delivers: its hubs, its notifier, the database, the channel layer."""

from eric_sse_django.health.parts import PARTS, TIMEOUT_S, Part, examine

__all__ = ["PARTS", "TIMEOUT_S", "Part", "examine"]
