"""
Signals for streams that open and close, and for listeners and users that come and go.

`stream_opened`: a stream was opened by this process. `stream_closed`: one has ended.
`listener_joined`: a listener opened a stream, and had none on any server.
`listener_left`: a listener has had no stream on any server for GRACE_S seconds. A page that is
reloaded, or a connection that breaks and reconnects, sends neither signal.

`user_online`: a user, who had none, has a listener that has joined, in any channel.
`user_offline`: the last of the user's listeners has left.

Receivers of listeners' signals get `listener`, the row, with `listener.channel` and
`listener.owner` (a user or None) loaded; the sender is the model Listener. Those of users' signals
get `user`; the sender is the user model. Those of streams' signals get `channels` and `listeners`,
lists of rows (a watcher has no listener), and `opened_at`; those of `stream_closed` also `reason`
and `sent`, the number of messages; the sender is the model OpenStream.

A server process calls receivers on their own thread, one after another, each call within
HOOK_TIMEOUT_S; what they raise is logged. Each change of a listener or user is sent once over all
processes, and at most once: a process that is killed at that moment sends nothing.
`listener_joined` and `user_online` are sent within about a second; `listener_left` and
`user_offline` after 11 s, or after up to 90 s if the server process was killed. A listener or user
that was removed sends none. Streams' signals are sent at once, by the process that serves them: if
it is killed, `stream_closed` is not sent.

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

__all__ = [
    "listener_joined",
    "listener_left",
    "stream_closed",
    "stream_opened",
    "user_offline",
    "user_online",
]

# Seconds without a stream after which a listener counts as offline.
GRACE_S = 10.0

stream_opened = Signal()
stream_closed = Signal()
listener_joined = Signal()
listener_left = Signal()
user_online = Signal()
user_offline = Signal()
