"""
Signals for listeners that come online and go offline.

`listener_joined`: a listener opened a stream, and had none on any server.
`listener_left`: a listener has had no stream on any server for GRACE_S seconds. A page that is
reloaded, or a connection that breaks and reconnects, sends neither signal.

Receivers get `listener`, the row, with `listener.channel` and `listener.owner` (a user or None)
loaded; the sender is the model Listener. A server process calls them on their own thread, one
after another, each call within HOOK_TIMEOUT_S; what they raise is logged. Each change is sent
once over all processes, and at most once: a process that is killed at that moment sends nothing.
`listener_joined` is sent within about a second; `listener_left` after 11 s, or after up to 90 s if
the server process was killed. A listener that was removed sends none.

    from django.dispatch import receiver
    from eric_sse_django.shortcuts import publish
    from eric_sse_django.signals import listener_joined

    @receiver(listener_joined)
    def greet(sender, listener, **kwargs):
        if listener.owner:
            publish("presence", "joined", {"user": listener.owner.pk})

Connect receivers where all server processes import them (`AppConfig.ready()`): without receivers
nothing is recorded.
"""

from __future__ import annotations

from django.dispatch import Signal

# Seconds without a stream after which a listener counts as offline.
GRACE_S = 10.0

listener_joined = Signal()
listener_left = Signal()
