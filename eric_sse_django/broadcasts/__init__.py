"""
Models that publish their changes: one line declares which, to which channel, and what is sent.

    @broadcasts("orders", fields=["number", "total"])
    class Order(models.Model): ...

A change and its messages are in one transaction.
"""

from eric_sse_django.broadcasts.declaration import Broadcast
from eric_sse_django.broadcasts.models import Broadcasts, broadcasts, publish_changed

__all__ = ["Broadcast", "Broadcasts", "broadcasts", "publish_changed"]
