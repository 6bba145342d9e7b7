"""Acknowledgement: what moves a listener's cursor, and how far."""

import pytest
from django.db import connections

from eric_sse_django import notifier
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.exception import InvalidListenerException, NoMessagesException
from eric_sse_django.models import Listener
from eric_sse_django.shortcuts import listen
from tests.contract import count
from tests.database.tools import entries

pytestmark = pytest.mark.usefixtures("no_notifier")


@pytest.fixture
def positions(channel, listener):
    """Return the positions of three messages that wait for the listener."""
    channel.broadcast_many(map(count, range(3)))
    notifier.settle()
    return [entry.position for entry in entries()]


def cursor():
    return Listener.objects.get().cursor


class TestTheCursor:
    def test_it_moves_to_the_acknowledged_position(self, channel, listener, positions):
        assert channel.acknowledge(listener.id, positions[1]) == positions[1] == cursor()
        assert Listener.objects.get().last_seen is not None
        assert channel.deliver_next(listener.id).payload == 2

    def test_it_never_goes_back(self, channel, listener, positions):
        channel.acknowledge(listener.id, positions[1])
        for earlier in (positions[0], 0, -1):
            assert channel.acknowledge(listener.id, earlier) == positions[1] == cursor()

    @pytest.mark.parametrize("above", [1_000_000, 2**53, 2**63 - 1, 2**63, 10**1_000])
    def test_a_position_above_the_head_moves_nothing(self, channel, listener, positions, above):
        channel.acknowledge(listener.id, positions[0])
        assert channel.acknowledge(listener.id, above) == positions[0] == cursor()
        assert channel.deliver_next(listener.id).payload == 1

    def test_the_same_again_changes_nothing(self, channel, listener, positions):
        for _ in range(2):
            assert channel.acknowledge(listener.id, positions[2]) == positions[2]
        with pytest.raises(NoMessagesException):
            channel.deliver_next(listener.id)

    def test_an_unknown_listener_is_an_error(self, channel):
        with pytest.raises(InvalidListenerException):
            channel.acknowledge("nobody", 1)

    def test_it_costs_the_lookup_and_two_queries(
        self, database, channel, listener, positions, django_assert_num_queries
    ):
        with django_assert_num_queries(3, connection=connections[database]):
            channel.acknowledge(listener.id, positions[0])

    async def test_a_coroutine_can_acknowledge(self, channel, listener, positions, call):
        assert await channel.aacknowledge(listener.id, positions[0]) == positions[0]
        assert await call(cursor) == positions[0]


class TestTheMode:
    def test_by_default_a_message_counts_as_received_when_it_was_sent(self, channel):
        assert channel.add_listener().row.acknowledgement == "sent"
        assert listen("orders").row.acknowledgement == "sent"

    def test_a_listener_can_be_added_with_acknowledgement_by_its_client(self, channel):
        channel.add_listener(listener_id="a", acknowledgement="client")
        listen("orders", listener_id="b", acknowledgement="client")
        modes = set(Listener.objects.values_list("acknowledgement", flat=True))
        assert modes == {"client"}

    def test_a_given_mode_also_changes_an_existing_listener(self, channel):
        channel.add_listener(listener_id="a")
        assert channel.add_listener(listener_id="a").row.acknowledgement == "sent"
        changed = channel.add_listener(listener_id="a", acknowledgement="client")
        assert changed.row.acknowledgement == "client"
        assert channel.add_listener(listener_id="a").row.acknowledgement == "client"
        assert Listener.objects.get().acknowledgement == "client"

    async def test_a_coroutine_can_choose_the_mode(self, channel):
        added = await channel.aadd_listener(acknowledgement="client")
        assert added.row.acknowledgement == "client"

    def test_an_unknown_mode_is_refused_and_nothing_is_written(self, channel):
        for wrong in ("Client", "", 7, True):
            with pytest.raises(ValueError, match="'sent' or 'client'"):
                channel.add_listener(acknowledgement=wrong)
        assert not Listener.objects.exists()

    def test_refresh_reads_the_mode(self, channel, listener):
        DatabaseChannel.load("orders").add_listener(
            listener_id=listener.id, acknowledgement="client"
        )
        listener.refresh()
        assert listener.row.acknowledgement == "client"
