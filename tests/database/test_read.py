"""Reading the log in pages: bounded bytes, and nothing left out between two pages."""

import pytest
from django.db import connections

from eric_sse_django import log
from eric_sse_django.log import reader
from eric_sse_django.message import Message
from eric_sse_django.models import QueuedMessage

pytestmark = pytest.mark.usefixtures("no_notifier")

PAGE_BYTES = 1_000
LARGE = "x" * 300


@pytest.fixture(autouse=True)
def few_bytes(monkeypatch):
    monkeypatch.setattr(reader, "PAGE_BYTES", PAGE_BYTES)


def publish(channel, *payloads, **to):
    log.append([log.row(channel.row, Message("n", payload), **to) for payload in payloads])
    while log.sequence():
        pass


def pages(listener, limit, after=0):
    """Return the pages that a stream of the listener would read one after another."""
    row, (head, _), found = listener.row, log.head(), []
    while after < head:
        found.append(log.read([log.Recipient.of(row, after)], head, limit))
        assert found[-1].reached > after
        after = found[-1].reached
    return found


def payloads(found):
    return [entry.payload for page in found for entry in page]


@pytest.mark.parametrize("limit", [1, 2, 3, 10, 100])
def test_pages_are_limited_in_bytes_and_skip_nothing(channel, listener, limit):
    published = [LARGE if number % 3 else number for number in range(20)]
    publish(channel, *published)
    publish(channel, LARGE, 20, LARGE, listener=listener.row.pk)
    found = pages(listener, limit)
    wanted = [f'"{each}"' if each == LARGE else str(each) for each in published]
    assert payloads(found) == [*wanted, f'"{LARGE}"', "20", f'"{LARGE}"']
    for page in found:
        assert sum(len(entry.payload) for entry in page) <= PAGE_BYTES
        assert 1 <= len(page) <= limit


def test_a_message_over_the_bound_is_the_only_one_of_its_page(channel, listener):
    publish(channel, 1, "x" * 5_000, 2)
    assert [[len(entry.payload) for entry in page] for page in pages(listener, 10)] == [
        [1],
        [5_002],
        [1],
    ]


def test_small_payloads_cost_no_second_query(
    database, channel, listener, django_assert_num_queries
):
    publish(channel, *range(10))
    to = listener.row.channel_id, listener.row.pk, None
    head, _ = log.head()
    with django_assert_num_queries(3, connection=connections[database]):  # and the floor
        assert len(log.read([log.Recipient(*to, 0)], head, 20)) == 10
    publish(channel, LARGE)
    head, _ = log.head()
    with django_assert_num_queries(5, connection=connections[database]):
        assert len(log.read([log.Recipient(*to, 0)], head, 20)) == 11


def test_a_removal_during_a_read_ends_no_reader(channel, listener, monkeypatch):
    publish(channel, *[LARGE] * 4, 7)
    fill = reader._with_large

    def removing(dialect, found, *args):
        QueuedMessage.objects.filter(position__lte=found[3][0]).delete()
        return fill(dialect, found, *args)

    monkeypatch.setattr(reader, "_with_large", removing)
    found = pages(listener, 4)
    assert payloads(found) == ["7"]
    assert [len(page) for page in found] == [0, 1]


def test_pop_finds_the_message_after_removed_ones(channel, listener, monkeypatch):
    publish(channel, LARGE, 7)
    read = log.read

    def removing(*args, **options):
        page = read(*args, **options)
        if page and len(page[0].payload) > 100:
            QueuedMessage.objects.filter(position=page[0].position).delete()
            return log.Page([], page.reached)
        return page

    monkeypatch.setattr(log, "read", removing)
    assert channel.deliver_next(listener.id).payload == 7


def test_an_entry_has_the_times_of_its_row_to_the_microsecond(channel, listener):
    publish(channel, "for long", "for a while")
    QueuedMessage.objects.filter(payload='"for a while"').update(perishable=True)
    rows = {row.payload: row for row in QueuedMessage.objects.all()}
    [page] = pages(listener, 10)
    assert [entry.created_at for entry in page] == [
        rows[entry.payload].created_at for entry in page
    ]
    assert [entry.expires_at for entry in page] == [
        None,
        rows['"for a while"'].expires_at.timestamp(),
    ]


@pytest.mark.parametrize("use_tz", [True, False])
def test_a_time_is_a_datetime_aware_as_use_tz_demands(settings, use_tz):
    settings.USE_TZ = use_tz
    moment = log.moment_of(1_700_000_000.25)
    assert (moment.timestamp(), moment.tzinfo is not None) == (1_700_000_000.25, use_tz)
