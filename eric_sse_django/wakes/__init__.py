"""
Wakes between processes, through a fabric: a Channels layer, or another one (see fabric).

A wake may be lost, repeated or late; then the hubs find the message at their next poll. What it
carries is opaque here.
"""

from eric_sse_django.wakes.fabric import MALFORMED, Parcel, configured, routes
from eric_sse_django.wakes.receiver import WakeReceiver
from eric_sse_django.wakes.sender import WakeSender, flush, outages

__all__ = [
    "MALFORMED",
    "Parcel",
    "WakeReceiver",
    "WakeSender",
    "configured",
    "flush",
    "outages",
    "routes",
]
