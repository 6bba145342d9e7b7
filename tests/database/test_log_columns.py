"""A save() of a row that was read before puts nothing back that the log has written since."""

import pytest

from eric_sse_django.database import DatabaseChannel
from eric_sse_django.models import Channel, Listener

pytestmark = pytest.mark.django_db


@pytest.fixture
def channel():
    return DatabaseChannel.create("orders")


def test_a_channels_floor_stays(channel):
    row = Channel.objects.get()
    Channel.objects.update(floor=7)
    row.retention_s = 60
    row.save()
    assert Channel.objects.values_list("floor", "retention_s").get() == (7, 60)


def test_saving_a_listener_keeps_the_columns_of_the_log(channel):
    listener = channel.add_listener(listener_id="l").row
    Listener.objects.update(floor=7, cursor=9, replays=1)
    listener.running = True
    listener.save()
    row = Listener.objects.defer("name").get()
    assert (row.floor, row.cursor, row.replays, row.running) == (7, 9, 1, True)
    row.save()
    row.cursor = 3
    row.save()
    assert Listener.objects.get().cursor == 9
    row.save(update_fields=["cursor"])  # it is meant
    assert Listener.objects.get().cursor == 3


def test_a_new_row_has_all_given_values(channel):
    Listener(channel=channel.row, name="l", cursor=5, floor=4).save()
    assert Listener.objects.values_list("cursor", "floor").get() == (5, 4)
