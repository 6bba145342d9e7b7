"""
Wakes between processes, through a Channels layer. They carry no message.

A wake may be lost: capacity, expiry, a dead Redis; then the hubs find the message at their next
poll.
"""

from eric_sse_django.wakes.layer import probe
from eric_sse_django.wakes.receiver import listen
from eric_sse_django.wakes.sender import WakeSender, flush, outages

__all__ = ["WakeSender", "flush", "listen", "outages", "probe"]
