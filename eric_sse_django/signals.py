"""
Signals about listeners that come online and go offline.

`listener_joined`: a listener has a stream open, and had none before on any server.
`listener_left`: it has had none on any server for GRACE_S seconds: a page that is reloaded, or a
connection that breaks, neither leaves nor joins again.

Receivers get `listener`, its row, with `listener.channel` and `listener.owner` (a user or None)
loaded; the sender is the model Listener. They are called in a server process, on a thread of
their own, one after another, each call within HOOK_TIMEOUT_S; what they raise is logged. They
are called once for each change over all processes, and at most once: a process that is killed at
that moment sends nothing. `listener_joined` comes within about a second; `listener_left` after
11 s, after up to 90 s where the server process was killed. A listener that was removed has none.

    from django.dispatch import receiver
    from eric_sse_django.shortcuts import publish
    from eric_sse_django.signals import listener_joined

    @receiver(listener_joined)
    def greet(sender, listener, **kwargs):
        if listener.owner:
            publish("presence", "joined", {"user": listener.owner.pk})

Connect receivers where all server processes import them (`AppConfig.ready()`): as long as there
are none, nothing is recorded for them.
"""

from __future__ import annotations

from django.dispatch import Signal

# Seconds without a stream after which a listener has left.
GRACE_S = 10.0

listener_joined = Signal()
listener_left = Signal()


def are_wanted() -> bool:
    """Whether anybody receives them, in this process."""
    return listener_joined.has_listeners() or listener_left.has_listeners()
