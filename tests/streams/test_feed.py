"""A channel's feed: its ring buffer, and what it delivers to which streams."""

import tracemalloc
from types import SimpleNamespace

from eric_sse_django.entry import Entry
from eric_sse_django.hub import feed as feed_module
from eric_sse_django.hub.feed import ENTRY_BYTES, FIRST_ROWS, Batch, Budget, Feed, Feeds, ReadLimit
from eric_sse_django.wire import channel_encoder


def entry(position, listener=None, owner=None, payload="1"):
    return Entry(position, 1, listener, owner, "n", payload)


def of(listener=None, owner=None):
    return lambda entry: entry.addressed(listener, owner)


class Listening:
    def __init__(self, feed, listener=None, owner=None):
        self.subscriptions = [SimpleNamespace(channel=1, listener=listener, owner=owner)]
        self.batches = []
        self.falls = 0
        self.alone = []
        feed.add(self)

    def push(self, batch, alone):
        self.batches.append(batch)
        self.alone.append(alone)

    def fall_back(self):
        self.falls += 1

    def end(self, reason):
        self.reason = reason

    @property
    def positions(self):
        return [entry.position for batch in self.batches for entry in batch.entries]


def test_broadcasts_are_joined_once_and_all_get_the_same_bytes():
    feed = Feed((1,), 0, 10)
    one, two = Listening(feed, 1), Listening(feed)
    feed.take([entry(1), entry(2)])
    assert one.positions == two.positions == [1, 2]
    encoded = []

    def encode(entry):
        encoded.append(entry.position)
        return b"%d;" % entry.position

    chunks = [each.batches[0].chunk(encode) for each in (one, two)]
    assert chunks[0] == b"1;2;"
    assert chunks[0] is chunks[1]
    assert encoded == [1, 2]


def test_a_batch_that_is_followed_by_another_is_not_alone():
    # Written alone, each would be a separate write.
    feed = Feed((1,), 0, 10)
    one = Listening(feed, 1)
    feed.take([entry(1), entry(2)])
    feed.take([entry(3), entry(4, listener=1), entry(5)])
    feed.take([entry(6, listener=1), entry(7, listener=9)])
    assert one.positions == [1, 2, 3, 4, 5, 6]
    assert one.alone == [True, False, False, False, True]


def test_a_dispatch_goes_to_its_listener_and_an_owners_to_all_of_the_owners():
    feed = Feed((1,), 0, 10)
    one, two, three = Listening(feed, 1, 7), Listening(feed, 2, 7), Listening(feed, 3)
    again, watcher = Listening(feed, 1, 7), Listening(feed)
    feed.take([entry(1), entry(2, listener=1), entry(3, owner=7), entry(4, listener=9), entry(5)])
    assert one.positions == again.positions == [1, 2, 3, 5]
    assert two.positions == [1, 3, 5]
    assert three.positions == watcher.positions == [1, 5]


def test_dispatches_without_a_recipient_here_do_not_split_a_batch():
    feed = Feed((1,), 0, 10)
    one = Listening(feed, 1)
    feed.take([entry(1), entry(2, listener=9), entry(3)])
    assert [len(batch.entries) for batch in one.batches] == [2]


def test_a_stream_that_was_discarded_gets_nothing_and_may_be_discarded_twice():
    feed = Feed((1,), 0, 10)
    one, two = Listening(feed, 1, 7), Listening(feed, 1, 7)
    assert feed.quiet_since is None
    feed.discard(one)
    feed.discard(one)
    feed.take([entry(1), entry(2, listener=1), entry(3, owner=7)])
    assert one.batches == []
    assert two.positions == [1, 2, 3]
    feed.discard(two)
    assert feed.quiet_since is not None
    feed.add(two)
    assert feed.quiet_since is None


def test_the_ring_buffer_returns_the_messages_after_a_position_to_their_recipients():
    feed = Feed((1,), 10, 10)
    feed.take([entry(11), entry(12, listener=1), entry(13, owner=7), entry(15)])

    def since(*args):
        found = feed.ring_buffer.since(*args)
        return None if found is None else [entry.position for entry in found]

    assert since(9, of(1, 7)) is None
    assert since(10, of(1, 7)) == [11, 12, 13, 15]
    assert since(11, of(2, 7)) == [13, 15]
    assert since(11, of()) == [15]
    assert since(15, of(1, 7)) == since(99, of(1, 7)) == []


def test_the_ring_buffer_is_bounded_by_messages_and_by_bytes(monkeypatch):
    feed = Feed((1,), 0, 3)
    feed.take([entry(position) for position in range(1, 6)])
    assert feed.ring_buffer.floor == 2
    assert feed.ring_buffer.since(1, of()) is None
    assert len(feed.ring_buffer.since(2, of())) == 3
    monkeypatch.setattr(feed_module, "MAX_RING_BYTES", 2 * ENTRY_BYTES)
    feed.take([entry(6, payload="x" * 8)])
    assert feed.ring_buffer.floor == 5
    assert len(feed.ring_buffer.since(5, of())) == 1
    monkeypatch.setattr(feed_module, "MAX_RING_BYTES", 10)
    feed.take([entry(7)])
    assert feed.ring_buffer.floor == 7


def feeds(count, max_bytes):
    """Return feeds of channels 1, 2, … whose rings share so many bytes, and those rings."""
    rings = Budget(max_bytes)
    return [Feed((channel,), 0, 500, rings) for channel in range(1, count + 1)], rings


def sized(position, size):
    return entry(position, payload="x" * (size - 1))


def test_the_ring_buffers_of_all_channels_share_one_bound_and_the_least_active_goes_first():
    (one, two, three), rings = feeds(3, 3 * (ENTRY_BYTES + 2_000))
    one.take([sized(1, 1_000)])
    two.take([sized(2, 1_000)])
    three.take([sized(3, 1_000)])
    assert rings.bytes == rings.max_bytes
    one.take([sized(4, 1_000)])  # now the second is the quietest
    assert [len(feed.ring_buffer._entries) for feed in (one, two, three)] == [2, 0, 1]
    assert two.ring_buffer.floor == 2
    assert two.ring_buffer.since(1, of()) is None
    assert two.ring_buffer.since(2, of()) == []
    assert rings.bytes == rings.max_bytes


def test_the_last_ring_buffer_is_emptied_if_the_others_are_and_it_is_still_too_large():
    (one, two), rings = feeds(2, 3 * (ENTRY_BYTES + 2_000))
    two.take([sized(1, 1_000)])
    one.take([sized(position, 1_000) for position in range(2, 10)])
    assert rings.bytes == rings.max_bytes
    assert one.ring_buffer.floor == 6
    assert two.ring_buffer.since(0, of()) is None
    rings.max_bytes = 0
    rings.make_room()
    assert (rings.bytes, one.ring_buffer.floor) == (0, 9)
    two.take([sized(10, 1)])
    assert (rings.bytes, two.ring_buffer.floor) == (0, 10)


def test_memory_that_a_ring_buffer_releases_is_free_for_others():
    (one, two), rings = feeds(2, 10**6)
    one.take([sized(1, 1_000)])
    two.take([sized(2, 1_000)])
    one.skip_to(3)
    assert rings.bytes == ENTRY_BYTES + 2_000
    two.ring_buffer.clear(two.ring_buffer.floor)
    assert rings.bytes == 0


def test_a_process_shares_its_bound_among_its_hubs(settings):
    settings.ERIC_SSE = {"RING_BYTES": 10_000}
    known = Feeds()
    assert known.budget.max_bytes == 10_000
    known.bound(2)
    assert known.budget.max_bytes == 5_000
    known.of([1], 0).take([sized(1, 2_000)])
    quiet = known.of([1], 0)
    assert known.budget.bytes == ENTRY_BYTES + 4_000
    quiet.quiet_since = 0.0
    known.forget_quiet(10**9)
    assert known.budget.bytes == 0


def test_many_ring_buffers_take_what_was_estimated():
    (one,), rings = feeds(1, 10**9)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        entries = [
            Entry(
                position,
                1,
                None,
                None,
                f"n{position}"[:5],
                f'"{position:0998d}"',
                None,
                None,
                float(position),
            )
            for position in range(1, 401)
        ]
        one.take(entries)
        encode = channel_encoder(as_text=False)
        for each in entries:
            each.frame(encode)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.7 < (after - before) / rings.bytes < 1.3


def test_a_ring_buffer_of_no_messages_keeps_none():
    feed = Feed((1,), 0, 0)
    feed.take([entry(1), entry(2)])
    assert feed.ring_buffer.since(1, of()) is None
    assert feed.ring_buffer.since(2, of()) == []


def test_skipping_empties_the_ring_buffer_and_sends_its_streams_to_the_log():
    feed = Feed((1,), 0, 10)
    one = Listening(feed, 1)
    feed.take([entry(1)])
    feed.skip_to(50)
    assert one.falls == 1
    assert feed.ring_buffer.since(1, of()) is None
    assert feed.ring_buffer.since(50, of()) == []


def test_a_batch_knows_its_end_and_size():
    batch = Batch([entry(1, payload="12"), entry(4, payload="3")])
    assert (batch.position, batch.size) == (4, 5)


def test_reads_grow_while_messages_are_small_and_shrink_when_they_are_large():
    limit = ReadLimit(max_bytes=1_000, max_rows=600)
    assert limit.rows == FIRST_ROWS
    half = [entry(position, payload="x" * 48) for position in range(9)]
    assert limit.fit(half) == half
    assert limit.rows == FIRST_ROWS * 2
    small = [entry(position) for position in range(20)]
    assert limit.fit(small) == small
    assert limit.rows == 600
    large = [entry(position, payload="x" * 300) for position in range(10)]
    assert limit.fit(large) == large[:3]
    assert limit.rows == 3
    huge = [entry(1, payload="x" * 5_000), entry(2)]
    assert limit.fit(huge) == huge[:1]
    assert limit.rows == 1
    assert ReadLimit(1_000, 10).rows == 10
