"""Segments between processes: signed, of this site's log only, and never the cause of a loss."""

import json
import random
import traceback

import pytest
from django.core.signing import TimestampSigner

from eric_sse_django import segments as packing
from eric_sse_django import wakes
from eric_sse_django.entry import NO_CHANNEL, REVOKE
from eric_sse_django.log import SEGMENT_MESSAGES, MemoryLog
from eric_sse_django.log.dialect import ENTRY_FIELDS
from eric_sse_django.outage import Quiet
from eric_sse_django.segments import WakeRefused, pack, unpack
from eric_sse_django.wakes import sender as sending
from eric_sse_django.wakes.nats.protocol import MAX_BYTES, decoded, encoded
from tests.streams import passing
from tests.streams.passing import client, draft, live, received, sequenced, until
from tests.streams.test_segments import Chaos
from tests.wakes import send_through

hub, memory = passing.hub, passing.memory


@pytest.fixture(autouse=True)
def carried(settings):
    """Set what wakes carry; "messages" at first."""

    def carry(what):
        settings.ERIC_SSE = {**getattr(settings, "ERIC_SSE", {}), "WAKES_CARRY": what}

    carry("messages")
    return carry


def packed(*segments):
    [parcel] = pack(segments)
    return parcel.message


FIELDS = (*ENTRY_FIELDS[:8], "stamp", "expires_at")


def values(segment):
    rows = segment.entries and [[getattr(it, name) for name in FIELDS] for it in segment.entries]
    return *segment[:3], rows


# What is packed ---------------------------------------------------------------------


def some_segment(count=1):
    log = MemoryLog()
    return sequenced(log, *[draft(number, channel=number + 1) for number in range(count)])


def test_an_unpacked_segment_is_as_it_was(carried):
    segment = some_segment(3)
    [found] = unpack(packed(segment))
    assert values(found) == values(segment)
    assert found.entries[0].created_at == segment.entries[0].created_at


def test_what_is_not_to_be_carried_is_not(carried):
    segment = some_segment(2)
    carried("channels")
    assert "payload" not in json.dumps(packed(segment))
    [found] = unpack(packed(segment))
    assert found == segment._replace(entries=None)
    carried("nothing")
    assert packed(segment) == {}
    assert unpack({}) == []


def test_a_segment_with_afters_is_packed_for_each_channel():
    log = MemoryLog()
    segment = sequenced(log, draft(0), draft(1, channel=2), draft(2))
    segment = segment._replace(afters={1: 5, 2: 6, NO_CHANNEL: 7})
    parcels = pack([segment])
    assert [parcel.channel for parcel in parcels] == [1, 2]
    found = [part for parcel in parcels for part in unpack(parcel.message)]
    for part, expected in zip(found, segment.by_channel(), strict=True):
        assert part[:4] == expected[:4]
        assert [each.payload for each in part.entries] == [it.payload for it in expected.entries]


def test_a_segment_with_a_notice_is_a_plain_wake_where_processes_get_some_channels():
    segment = sequenced(MemoryLog(), draft(0), draft([], NO_CHANNEL, REVOKE))
    afters = {1: 5, NO_CHANNEL: 7}
    assert pack([segment._replace(afters=afters)]) == [wakes.Parcel(None, {})]


def test_several_are_in_one_parcel_as_far_as_they_fit():
    log = MemoryLog()
    some = [sequenced(log, draft("x" * 10_000)) for _ in range(7)]
    parcels = pack(some)
    assert len(parcels) == 3
    found = [segment for parcel in parcels for segment in unpack(parcel.message)]
    assert list(map(values, found)) == list(map(values, some))
    assert all(len(parcel.message["segments"]) < packing.PARCEL_BYTES * 1.1 for parcel in parcels)


@pytest.mark.parametrize("character", ["x", '"', "\u2603", "\U0001f600"])
@pytest.mark.parametrize("afters", [None, {1: 0, NO_CHANNEL: 0}], ids=["of all", "of a channel"])
def test_whatever_its_names_are_a_parcel_is_what_receivers_take(character, afters):
    drafts = [draft('"' * 120) for _ in range(SEGMENT_MESSAGES)]
    segment = sequenced(MemoryLog(), *drafts)._replace(afters=afters)
    for entry in segment.entries:
        entry.type = entry.sender = entry.uid = character * 255
    [parcel] = pack([segment])
    data = encoded(parcel)
    assert len(data) < MAX_BYTES - 1_000  # of the wake's own fields
    [found] = unpack(decoded(data))
    assert (found.known, found.entries) == (segment.known, None)


# What is refused --------------------------------------------------------------------


def test_any_changed_character_is_refused():
    message, chance = packed(some_segment(2)), random.Random(1)
    text = message["segments"]
    for at in chance.sample(range(len(text)), 50):
        changed = text[:at] + ("x" if text[at] != "x" else "y") + text[at + 1 :]
        with pytest.raises(WakeRefused):
            unpack({**message, "segments": changed})


@pytest.mark.parametrize("text", ["", "[]", "x:y", "x:y:z", ":", 7, None, [], {"a": 1}, b"x:y:z"])
def test_what_is_not_signed_is_refused(text):
    with pytest.raises(WakeRefused):
        unpack({"v": 1, "segments": text})


def test_nothing_of_what_is_refused_is_in_the_reason():
    for text in ("[]:a:stranger\n" * 100, "stranger", "[:stranger"):
        with pytest.raises(WakeRefused) as refused:
            unpack({"v": 1, "segments": text})
        assert "stranger" not in "".join(traceback.format_exception(refused.value))


def test_one_of_a_site_with_another_key_is_refused(settings):
    message = packed(some_segment())
    settings.SECRET_KEY = "another"
    with pytest.raises(WakeRefused):
        unpack(message)


def test_a_key_that_was_replaced_is_accepted_while_it_is_a_fallback(settings):
    segment = some_segment()
    message, before = packed(segment), settings.SECRET_KEY
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another", [before]
    assert values(unpack(message)[0]) == values(segment)


def test_one_of_another_database_is_refused(monkeypatch):
    message = packed(some_segment())
    place = "postgresql", "staging", "5432", "site"
    monkeypatch.setattr("eric_sse_django.log.dialect.Dialect.place", lambda self: place)
    monkeypatch.setattr("eric_sse_django.log.dialect.SQLite.place", lambda self: place)
    packing._salt.cache_clear()
    with pytest.raises(WakeRefused):
        unpack(message)
    packing._salt.cache_clear()


def test_an_old_one_is_refused(monkeypatch):
    message = packed(some_segment())
    monkeypatch.setattr(packing, "MAX_AGE_S", -1)
    with pytest.raises(WakeRefused):
        unpack(message)


@pytest.mark.parametrize("change", [{"v": 2}, {"v": None}, {"v": "1"}])
def test_one_of_another_version_is_a_plain_wake(change):
    assert unpack({**packed(some_segment()), **change}) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1]",
        "[[]]",
        '[["none"]]',
        '[["all", K, K, [1], [[1]]]]',
        '[["all", [1, 2, 3], K, [1], null]]',
        '[["all", K, K, 1, null]]',
        '[["all", K, K, [[]], null]]',
        '[["all", [1, ["never"], 3, "x"], K, [1], null]]',
        '[["all", [1, [[]], 3, "x"], K, [1], null]]',
        '[["all", K, K, [1], [["1", 1, null, null, "t", "1", null, null, 1, null]]]]',
        '[["all", K, K, [1], [[1, 1, null, {}, "t", "1", null, null, 1, null]]]]',
        '[["one", 1, 2, 3, K, 7]]',
        "[" * 100_000,
    ],
)
def test_one_of_another_form_is_refused_though_it_is_signed(text):
    signed = packing._signer().sign(text.replace("K", '[1, 2, 3, "x"]'))
    with pytest.raises(WakeRefused):
        unpack({"v": 1, "segments": signed})


def test_what_is_no_message_is_refused():
    with pytest.raises(WakeRefused):
        unpack(wakes.MALFORMED)


def test_no_other_signature_of_the_site_is_one_of_a_wake():
    with pytest.raises(WakeRefused):
        unpack({"v": 1, "segments": TimestampSigner(salt="tickets").sign("[]")})


# In a hub ---------------------------------------------------------------------------


async def test_a_message_in_a_wake_is_delivered_without_a_read(memory, hub):
    async with client(hub) as one:
        await live(hub, one)
        for number in range(3):
            hub._receive(packed(sequenced(memory, draft(number))))
        await received(one, 0, 1, 2)
    assert memory.looks == 0
    assert hub.counters.segments == {"taken": 3}


async def test_the_name_of_a_channel_in_a_wake_spares_the_others_a_read(memory, hub, carried):
    carried("channels")
    async with client(hub) as one:
        await live(hub, one)
        hub._receive(packed(sequenced(memory, draft("another's", channel=2))))
        await until(lambda: hub.counters.segments == {"passed": 1})
        assert memory.looks == 0
        hub._receive(packed(sequenced(memory, draft("its"))))
        await received(one, "its")
    assert hub.counters.segments == {"passed": 1, "looked": 1}
    assert memory.looks == 1


async def test_what_is_refused_makes_a_hub_read_the_log(memory, hub, caplog, monkeypatch):
    monkeypatch.setattr("eric_sse_django.hub.hub._refusals", Quiet())
    async with client(hub) as one:
        await live(hub, one)
        message = packed(sequenced(memory, draft("true")))
        forged = {**message, "segments": message["segments"].replace("true", "fake")}
        hub._receive(forged)
        await received(one, "true")
        hub._receive(forged)
        await hub.follower.look()
    assert hub.counters.segments["refused"] == 2
    assert caplog.text.count("SECRET_KEY") == 1
    assert "fake" not in caplog.text


async def test_wakes_of_the_version_before_make_it_read_the_log(memory, hub):
    async with client(hub) as one:
        await live(hub, one)
        sequenced(memory, draft(1))
        hub._receive({"type": "eric.wake"})
        await received(one, 1)
    assert memory.looks == 1


class Wires(Chaos):
    """What is passed on goes through wakes, some of which are forged, or of another log."""

    def __init__(self, *args):
        super().__init__(*args)

        def carry(segment):
            message = packed(segment)
            kind = self.chance.random()
            if kind < 0.1:
                message = {**message, "segments": message["segments"][::-1]}
            elif kind < 0.2:
                before = segment.before._replace(log="elsewhere")
                message = packed(segment._replace(before=before))
            elif kind < 0.3:
                message = {}
            self.hub._receive(message)

        self.fabric.wake = carry


@pytest.mark.parametrize("seed", range(10))
async def test_whatever_happens_to_wakes_streams_get_each_message_once(memory, hub, seed):
    assert await Wires(memory, hub, seed, passing.TIMEOUT_S).run() == []
    assert {"taken", "looked", "refused"} <= set(hub.counters.segments)


# Sending ----------------------------------------------------------------------------


class Fabric:
    """Keeps what is sent while `is_open` is set; `failures` are raised."""

    sends_at_once = False

    def __init__(self):
        self.sent, self.failures = [], []
        self.is_open = sending.threading.Event()
        self.is_open.set()

    def carrier(self):
        return self

    def send(self, parcels):
        self.is_open.wait(5)
        if self.failures:
            raise self.failures.pop()
        self.sent += [parcel.message.get("segments") for parcel in parcels]

    def close(self):
        pass


@pytest.fixture
def fabric(monkeypatch):
    return send_through(Fabric(), monkeypatch)


@pytest.fixture
def sender():
    sender = wakes.WakeSender(lambda items: [wakes.Parcel(None, {"segments": list(items)})])
    yield sender
    sender.close()


def test_items_that_wait_share_a_send(fabric, sender):
    fabric.is_open.clear()
    for number in range(10):
        sender.wake(number)
    fabric.is_open.set()
    assert sender.flush(5)
    assert [number for each in fabric.sent for number in each] == list(range(10))
    assert len(fabric.sent) <= 2


def test_a_plain_wake_replaces_the_items_that_wait(fabric, sender):
    fabric.is_open.clear()
    sender.wake("first")
    wait(lambda: not sender._items)
    sender.wake("second")
    sender.wake()
    sender.wake("third")
    fabric.is_open.set()
    assert sender.flush(5)
    assert fabric.sent == [["first"], None]


def test_when_too_many_wait_a_plain_wake_is_sent(fabric, sender):
    fabric.is_open.clear()
    sender.wake("first")
    wait(lambda: not sender._items)
    for number in range(sending.MAX_ITEMS + 1):
        sender.wake(number)
    assert sender._items == []
    fabric.is_open.set()
    assert sender.flush(5)
    assert fabric.sent == [["first"], None]


def test_after_a_send_that_failed_a_plain_wake_is_sent(fabric, sender, caplog):
    fabric.failures = [ConnectionError("gone")]
    sender.wake("lost")
    wait(lambda: fabric.sent)
    assert fabric.sent == [None]
    sender.wake("next")
    assert sender.flush(5)
    assert fabric.sent == [None, ["next"]]


def wait(condition):
    deadline = sending.time.monotonic() + 5
    while not condition():
        assert sending.time.monotonic() < deadline
        sending.time.sleep(0.001)
