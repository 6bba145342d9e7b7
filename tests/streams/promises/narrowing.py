"""Access narrows, in each of its ways; the streams concerned end, and all others continue."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from eric_sse_django.authorization import revoke
from eric_sse_django.authorization.revocation import revoke_subjects, session_kept
from eric_sse_django.models import Channel
from tests.streams.promises.serving import SESSIONS
from tests.streams.promises.world import CHANNELS

# What a session is known by, of which each event that ends its access names some.
KNOWN_BY = ("session", "login", "auth")

sessions = st.integers(0, SESSIONS - 1)
channels = st.sampled_from(CHANNELS)


class Narrowing:
    """Steps of the machine that have access narrow."""

    world: Any

    @rule(session=sessions, known_by=st.sampled_from(KNOWN_BY))
    def end_a_session(self, session, known_by):
        """Its user logs out, or changes the password."""
        revoke_subjects(session_kept([f"{known_by}:{session}"]))
        for client in self.world.clients:
            if client.session == session:
                self.world.tell_to_end(client)

    @rule(channel=channels)
    def revoke_a_channel(self, channel):
        revoke(channel=self.world.channels[channel])
        for client in self.world.clients:
            if any(view.channel == channel for view in client.views):
                self.world.tell_to_end(client)

    @rule(channel=channels, to=st.sampled_from(Channel.Access.values))
    def change_who_may_watch(self, channel, to):
        row = self.world.channels[channel].row
        row.refresh_from_db(fields=["access"])  # a restored backup may have another
        order = ["ticket", "users", "everyone"]
        narrows = order.index(to) < order.index(row.access)
        row.access = to
        row.save()
        for client in self.world.clients:
            watches = any(v.channel == channel and v.listener is None for v in client.views)
            if narrows and watches:
                self.world.tell_to_end(client)

    @rule(known_by=st.sampled_from(KNOWN_BY))
    def end_what_is_anothers(self, known_by):
        """It concerns nobody here."""
        revoke_subjects(session_kept([f"{known_by}:another"]), ["watchers:0", "user:0"])
