"""A message that has no event ends its own streams; every other stream continues."""

import asyncio
import copy
import logging
import weakref
from collections import Counter

import pytest

from eric_sse_django.consumers.stream import encoder
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.entry import NO_CHANNEL, REVOKE, Entry
from eric_sse_django.exception import EncodingFailed
from eric_sse_django.hub import hooks
from eric_sse_django.hub.feed import Batch, Feed
from eric_sse_django.workers import Hung
from tests.streams.reading import Reader
from tests.streams.test_feed import Listening, entry
from tests.streams.test_follower import feed_of, follower, rows

__all__ = ["follower", "rows"]  # fixtures


@pytest.fixture(params=[True, False], ids=["at once", "by a task"], autouse=True)
def how(request, monkeypatch):
    monkeypatch.setattr(Reader, "writes_at_once", request.param)


class Picky(DatabaseChannel):
    """Cannot adapt what is "bad"."""

    def adapt(self, msg):
        if msg.payload == "bad":
            raise KeyError(msg.payload * 2)
        return super().adapt(msg)


@pytest.fixture
async def others(site):
    """Return a site of another channel, on the same hub."""
    return await site.another("others")


async def picky(site, row=None, last_event_id=None):
    """Return a reader whose channel is Picky."""
    stream = site.stream(row, last_event_id)
    return await site._stack.enter_async_context(Reader(stream, Picky(site.channel.row)))


async def test_an_exception_in_adapt_ends_the_streams_of_that_message_only(site, others, caplog):
    failing = [await picky(site) for _ in range(3)]
    beside = [await site.read(), await others.read()]

    for payload in ("good", "bad", "after"):
        await site.publish(payload)
        await others.publish(payload)
    for reader in beside:
        assert await reader.count(3) == ['"good"', '"bad"', '"after"']
    for reader in failing:
        assert await reader.ended() == "error"
        assert reader.data == ['"good"']  # what came before it went out
        assert reader.complete
    [record] = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert "a message has no event" in record.getMessage()
    assert "adapt" in record.getMessage()  # where it was raised
    assert "badbad" not in caplog.text
    await others.close()


async def test_a_client_gets_all_that_it_missed_once_adapt_works_again(site):
    listener = await site.listener()
    reader = await picky(site, listener)
    await site.publish("good", "bad", "after")
    await reader.ended()
    last = reader.ids[-1]
    assert await (await site.read(None, last)).count(2) == ['"bad"', '"after"']
    assert await (await site.read(listener)).count(2) == ['"bad"', '"after"']


async def test_a_client_that_fails_at_the_same_message_again_is_asked_to_wait_longer(
    site, monkeypatch, caplog
):
    now = 1_000.0
    monkeypatch.setattr(hooks.time, "monotonic", lambda: now)
    await site.publish("bad")
    await site.at_head()
    retries = []
    for now in (1_000.0, 1_004.0, 1_020.0, 2_000.0):  # noqa: B007 - read by the clock
        reader = await picky(site, None, 0)
        await reader.ended()
        retries.append(reader.reader.retry_ms)
    assert 3_000 <= retries[0] <= 4_500
    assert 4_000 <= retries[1] <= 6_000
    assert 20_000 <= retries[2] <= 30_000
    assert 60_000 <= retries[3] <= 90_000
    assert caplog.text.count("a message has no event") == 1


def test_the_number_of_remembered_failures_is_limited(monkeypatch):
    monkeypatch.setattr(hooks, "MAX_REMEMBERED", 2)
    known = hooks.Adapters("test", Counter())
    for position in range(5):
        known.failed(EncodingFailed(1, position))
    assert len(known._failed_since) == 2


def test_a_batch_that_failed_is_not_tried_again_for_each_stream():
    tries = []

    def encode(entry):
        tries.append(entry)
        raise ZeroDivisionError

    batch = Batch([entry(1)])
    for _ in range(3):
        with pytest.raises(EncodingFailed):
            batch.chunk(encode)
    assert len(tries) == 1


def test_of_entries_that_are_encoded_at_once_the_one_that_fails_is_named():
    class Encoder:
        def __call__(self, entry):
            if entry.position == 2:
                raise ZeroDivisionError
            return b"%d " % entry.position

        def joined(self, entries):
            return b"".join(map(self, entries))

    encode = Encoder()
    batch = Batch([entry(1), entry(2), entry(3)])
    with pytest.raises(EncodingFailed) as failed:
        batch.chunk(encode)
    assert failed.value.position == 2
    assert batch.before(2).chunk(encode) == b"1 "


@pytest.mark.parametrize("raised", [asyncio.CancelledError, GeneratorExit, RecursionError])
def test_every_exception_names_its_entry(raised):
    def encode(entry):
        raise raised

    with pytest.raises(EncodingFailed) as failed:
        entry(7).frame(encode)
    assert (failed.value.channel, failed.value.position) == (1, 7)


@pytest.mark.parametrize("nonsense", [None, "text", bytearray(b"x"), 7])
def test_a_frame_must_be_bytes(nonsense):
    with pytest.raises(EncodingFailed):
        entry(1).frame(lambda entry: nonsense)


# What adapt() returns ----------------------------------------------------------------------


class Forging(DatabaseChannel):
    event = None

    def adapt(self, msg):
        return self.event


async def coroutine():
    """Not what adapt() may return."""


@pytest.mark.parametrize(
    "event",
    [
        {"event": "a\ndata: forged\n\nid: 99", "data": 1},
        {"event": "a\rb", "data": 1},
        {"event": "a\0b", "data": 1},
        {"event": "\ud800", "data": 1},
        {"event": "x" * 256, "data": 1},
        {"event": "eric-reset", "data": 1},
        {"event": 7, "data": 1},
        {"event": "a", "data": object()},
        {"event": "a", "data": float("nan")},
        {"event": "a", "data": "x" * 300_000},
        *({"event": "a", "data": 1, "retry": bad} for bad in ("1\n\n", 0, -1, 1.5, True, 2**40)),
        object(),
        coroutine,
    ],
)
@pytest.mark.parametrize("format", ["json", "text"])
async def test_an_event_that_would_forge_another_is_not_sent(site, event, format):
    site.channel.row.format = format
    made = Forging(site.channel.row)
    made.event = event() if event is coroutine else event
    async with Reader(site.stream(), made) as reader:
        await site.publish("x")
        assert await reader.ended() == "error"
    assert reader.events == []
    assert reader.reader.ignored == []


async def test_adapt_may_keep_the_apps_own_names_and_ask_for_a_retry(site):
    made = Forging(site.channel.row)
    made.event = {"event": "a", "data": "ok", "retry": 5}
    assert b"retry: 5\n" in made.encode(entry(1))
    made.event = {"event": "eric-reset", "data": "ok"}
    lost = Entry.reset(1, None, 0, 3)
    assert b"event: eric-reset\n" in made.encode(lost)
    made.event = {"data": "ok"}
    assert b"event:" not in made.encode(entry(1))


# The encoder is the feed's -------------------------------------------------------------------


async def test_a_channel_whose_format_is_changed_is_encoded_as_each_stream_knows_it(site):
    row = site.channel.row
    old = encoder([row])
    text = copy.copy(row)
    text.format = "text"
    new = encoder([text])
    one = entry(1, payload='"plain"')
    assert b'data: "plain"\n' in one.frame(old)
    assert b"data: plain\n" in one.frame(new)
    for encode, data in (
        (new, b"data: plain\n"),
        (old, b'data: "plain"\n'),
        (new, b"data: plain\n"),
    ):
        assert data in Batch([one]).chunk(encode)
    shared = Batch([one])
    for encode, data in (
        (new, b"data: plain\n"),
        (old, b'data: "plain"\n'),
        (new, b"data: plain\n"),
    ):
        assert data in shared.chunk(encode)


async def test_streams_of_the_same_channels_share_their_frames(site, others):
    rows = [site.channel.row, others.channel.row]
    assert encoder(rows[:1]) == encoder(rows[:1])
    both = encoder(rows)
    assert encoder(rows) == both
    assert encoder(rows[::-1]) != both
    made = Entry(1, rows[0].pk, None, None, "n", "1")
    assert encoder(rows[::-1])(made) is both(made)  # a channel's frame is encoded once
    assert b"event: orders/n\n" in both(made)
    # Not whether all are forgotten: streams of other tests may be in cycles of references.
    forgotten = weakref.ref(both)
    del both, made
    assert forgotten() is None


# What else may fail ----------------------------------------------------------------------------


async def test_a_stream_that_cannot_take_its_batch_ends_alone(caplog):
    feed = Feed((1,), 0, 10)
    failing, beside = Listening(feed), Listening(feed)
    failing.push = None
    feed.take([entry(1)])
    assert failing.reason == "error"
    assert beside.positions == [1]
    assert "a stream failed" in caplog.text


async def test_a_stream_that_cannot_fall_back_ends_alone():
    feed = Feed((1,), 0, 10)
    failing, beside = Listening(feed), Listening(feed)
    failing.fall_back = None
    feed.skip_to(5)
    assert (failing.reason, beside.falls) == ("error", 1)


async def test_streams_of_a_feed_that_fails_read_the_log_and_others_continue(rows, follower):
    failing, beside = (Listening(feed_of(follower, [channel])) for channel in (1, 2))
    feed = feed_of(follower, [1])
    feed.ring_buffer.keep = None
    rows.publish(1, channel=1)
    rows.publish(2, channel=2)
    await follower._look()
    assert beside.positions == [2]
    assert failing.falls == 1
    assert feed.ring_buffer.floor == follower.position == 2
    assert feed.ring_buffer.since(1, lambda entry: True) is None  # no ring buffer has a hole


async def test_a_delivery_that_is_interrupted_makes_no_gap_in_a_ring_buffer(
    rows, follower, monkeypatch
):
    one, two = (Listening(feed_of(follower, [channel])) for channel in (1, 2))
    monkeypatch.setattr(follower.feeds, "share", lambda entries: 1 / 0)
    monkeypatch.setattr(follower.outage, "failed", lambda: 0.0)
    rows.publish(1, channel=1)
    following = asyncio.ensure_future(follower.follow())
    follower.poll.wake()
    while not (one.falls and two.falls):
        await asyncio.sleep(0)
    floors = [feed_of(follower, [channel]).ring_buffer.floor for channel in (1, 2)]
    assert [follower.position, *floors] == [1, 1, 1]
    monkeypatch.undo()
    rows.publish(2, channel=1)
    follower.poll.wake()
    while not one.batches:
        await asyncio.sleep(0)
    assert one.positions == [2]
    following.cancel()


async def test_a_notice_that_cannot_be_read_ends_all_streams(rows, follower, caplog):
    one = Listening(feed_of(follower, [1]))
    rows.publish(1, channel=NO_CHANNEL, type=REVOKE, payload="{")
    rows.publish(2, channel=1)
    await follower._look()
    assert one.reason == "error"
    assert follower.position == 2
    assert "cannot be applied" in caplog.text


def test_a_message_that_took_too_long_is_not_tried_by_each_client_that_reconnects(monkeypatch):
    now = 1_000.0
    monkeypatch.setattr(hooks.time, "monotonic", lambda: now)
    known, tried = hooks.Adapters("test", Counter()), entry(5)
    hung, other = EncodingFailed(1, 5), EncodingFailed(1, 6)
    hung.__cause__ = Hung()
    known.failed(hung)
    known.failed(other)
    assert known.hangs(tried)
    assert not known.hangs(entry(6))  # what raised costs no thread
    now += hooks.MIN_RETRY_S
    assert not known.hangs(tried)  # one may try
    now += 25
    known.failed(hung)
    now += 29
    assert known.hangs(tried)  # as long again as it has failed
    now += 2
    assert not known.hangs(tried)
