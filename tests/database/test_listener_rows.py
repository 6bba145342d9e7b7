"""Listeners that are made by the ORM."""

import pytest
from django.core.management import call_command

from eric_sse_django import log
from eric_sse_django.models import Listener
from tests.contract import count

pytestmark = pytest.mark.usefixtures("no_notifier")


@pytest.fixture
def head(channel):
    """Return the head of a log with some messages."""
    channel.broadcast_many(count(number) for number in range(3))
    assert log.sequence() == 3
    return log.head()[0]


def places(row):
    row.refresh_from_db()
    return row.start, row.cursor


@pytest.mark.parametrize(
    "make",
    [
        lambda **fields: Listener.objects.create(**fields),
        lambda **fields: Listener.objects.get_or_create(**fields)[0],
        lambda **fields: Listener.objects.update_or_create(**fields)[0],
        lambda **fields: saved(Listener(**fields)),
    ],
    ids=["create", "get_or_create", "update_or_create", "save"],
)
def test_a_new_row_begins_at_the_head(channel, head, make):
    assert places(make(channel=channel.row, name="till")) == (head, head)


def saved(row):
    row.save()
    return row


def test_a_place_that_is_given_is_kept(channel, head):
    assert places(Listener.objects.create(channel=channel.row, name="a", start=0, cursor=0)) == (
        0,
        0,
    )
    assert places(Listener.objects.create(channel=channel.row, name="b", cursor=2)) == (0, 2)
    row = Listener(channel=channel.row, name="c")
    row.cursor = 1
    assert places(saved(row)) == (0, 1)


def test_saving_a_row_again_keeps_its_position(channel, head):
    row = Listener.objects.create(channel=channel.row, name="a", start=0, cursor=0)
    saved(row)
    found = Listener.objects.get()
    saved(found)
    assert places(found) == (0, 0)


def test_a_fixture_keeps_its_position(database, channel, head, tmp_path):
    Listener.objects.create(channel=channel.row, name="a", start=1, cursor=2)
    file = tmp_path / "listeners.json"
    call_command("dumpdata", "eric_sse_django.listener", output=str(file), database=database)
    Listener.objects.all().delete()
    call_command("loaddata", str(file), database=database, verbosity=0)
    assert places(Listener.objects.get()) == (1, 2)
