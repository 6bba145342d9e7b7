"""What every Log guarantees: order, positions, histories, resets, expiry, limits."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import pytest

from eric_sse_django.entry import NO_CHANNEL, RESET, REVOKE, STOP
from eric_sse_django.log import (
    Draft,
    Known,
    Log,
    Recipient,
    Segment,
    base_of,
    is_next,
    number_of,
)
from eric_sse_django.log.dialect import ENTRY_FIELDS
from eric_sse_django.log.protocol import SEGMENT_BYTES, SEGMENT_MESSAGES
from eric_sse_django.segments import pack, unpack

DAY_S = 86_400.0
# Seconds since the end of a retention that no poll interval delays a removal for.
LONG_AGO_S = -3_600.0
MANY = 100


@dataclass
class World:
    """A log, and keys: of two channels, of listeners of the first one, and of two owners."""

    log: Log
    channel: int
    other: int
    phone: int  # Ana's, as the laptop
    laptop: int
    till: int  # nobody's
    ana: Any
    bob: Any
    start: int = field(init=False)

    def __post_init__(self) -> None:
        self.start = self.log.head().position

    def draft(self, payload: Any, **options: Any) -> Draft:
        """Return a draft: to all of the first channel, and kept for a day."""
        options = {"channel": self.channel, "kept_s": DAY_S, "perishable": False, **options}
        return Draft(type=options.pop("type", "n"), payload=json.dumps(payload), **options)

    def append(self, *payloads: Any, **options: Any) -> None:
        """Append one message after another, and give them positions."""
        for payload in payloads:
            self.log.append([self.draft(payload, **options)])
        self.sequence()

    def sequence(self) -> int:
        """Give positions to all that wait for one; return how many."""
        given = 0
        while count := self.log.sequence():
            given += count
        return given

    def trim(self) -> int:
        """Remove all that can be removed; return how many."""
        removed = 0
        while count := self.log.trim():
            removed += count
        return removed

    def reader(self, listener: int | None = None, owner: Any = None, **where: Any) -> Recipient:
        """Return a reader of the first channel, from before the first message."""
        return Recipient(where.get("channel", self.channel), listener, owner, self.start)

    def read(self, *readers: Recipient, limit: int = 1_000) -> list[Any]:
        """Return what readers read: payloads, and RESET."""
        return payloads(self.log.read(readers, None, limit))

    def look(self, known: Known | None = None, channels: Any = None, limit: int = 1_000) -> Any:
        """Return a look from before the first message, or from what is known."""
        return self.log.look(known or Known(self.start), channels, limit)


def payloads(entries: Any) -> list[Any]:
    """Return the payloads, with RESET for a reset."""
    return [RESET if entry.type == RESET else json.loads(entry.payload) for entry in entries]


class LogContract:
    """The tests; a class of each log has a fixture `world`."""

    # Segments --------------------------------------------------------------------------

    def test_a_segment_has_what_a_look_would_find(self, world):
        segments = []
        known = world.log.follow()
        world.log.append([world.draft(number) for number in range(3)])
        world.log.append([world.draft("to Ana", channel=world.other, owner=world.ana)])
        assert world.log.sequence(segments.append) == 4
        [segment] = segments
        look = world.look(known)
        assert is_next(segment, known)
        assert segment.known == look.head
        assert segment.channels == {world.channel, world.other}
        fields = ("position", "channel", "listener", "owner", "type", "payload", "stamp")
        for given, found in zip(segment.entries, look.entries, strict=True):
            assert [getattr(given, name) for name in fields] == [
                getattr(found, name) for name in fields
            ]
            assert given.created_at == found.created_at

    def test_segments_are_a_chain(self, world):
        segments, known = [], world.log.follow()
        for number in range(3):
            world.log.append([world.draft(number)])
            world.log.sequence(segments.append)
        for segment in segments:
            assert is_next(segment, known)
            known = segment.known
        assert not is_next(segments[0], known)
        assert known == world.log.follow()

    def test_a_segment_is_the_same_in_another_process(self, world, settings):
        settings.ERIC_SSE = {"WAKES_CARRY": "messages"}
        given = []
        world.log.append([world.draft({"a": ["\u00e9"]}), world.draft(2, owner=world.ana)])
        world.log.append([world.draft(3, listener=world.phone, perishable=True, kept_s=60)])
        world.log.append([world.draft(4, sender="s", uid="u")])
        world.log.sequence(given.append)
        [parcel] = pack(given)
        [found] = unpack(json.loads(json.dumps(parcel.message)))
        [segment] = given
        assert found[:3] == segment[:3]
        fields = (*ENTRY_FIELDS[:8], "stamp", "expires_at", "created_at")
        for one, other in zip(found.entries, segment.entries, strict=True):
            assert [getattr(one, name) for name in fields] == [
                getattr(other, name) for name in fields
            ]

    def test_no_segment_of_another_log_is_next(self, world):
        segments, known = [], world.log.follow()
        world.log.append([world.draft(1)])
        world.log.sequence(segments.append)
        [(before, *rest)] = segments
        assert is_next(Segment(before, *rest), known)
        elsewhere = Segment(before._replace(log="elsewhere"), *rest)
        assert not is_next(elsewhere, world.log.follow()._replace(position=before.position))

    def test_a_segment_has_a_segment_of_each_of_its_channels(self, world):
        segments = []
        for number in range(4):
            channel = world.other if number % 2 else world.channel
            world.log.append([world.draft(number, channel=channel)])
        world.log.sequence(segments.append)
        [segment] = segments
        assert segment.by_channel() == []
        afters = {world.channel: 7, world.other: 8, NO_CHANNEL: 9}
        one, other = segment._replace(afters=afters).by_channel()
        assert [one.channel, one.after, one.notices] == [world.channel, 7, 9]
        assert [other.channel, other.after, other.notices] == [world.other, 8, 9]
        assert [payloads(each.entries) for each in (one, other)] == [[0, 2], [1, 3]]
        assert one.known.position == one.entries[-1].position
        assert world.look(one.known).is_same
        assert other.known == segment.known
        stripped = segment._replace(afters=afters, entries=None).by_channel()
        assert {each.channel for each in stripped} == segment.channels
        assert {(each.known, each.entries) for each in stripped} == {(segment.known, None)}

    def test_the_channels_between_two_positions(self, world):
        world.append("before")
        known = world.log.follow()
        assert world.log.channels_between(known, known.position, 0) == ({}, 0)
        world.append(1, 2)
        world.append(3, channel=world.other)
        world.append(4)
        world.append(5, channel=NO_CHANNEL)
        first, *_, last = (entry.position for entry in world.look(known).entries)
        lasts = {world.channel: last - 1, world.other: last - 2, NO_CHANNEL: last}
        assert world.log.channels_between(known, last, 5) == (lasts, 0)
        assert world.log.channels_between(known, last, 4) is None
        assert world.log.channels_between(known, first, 1) == ({world.channel: first}, 0)

    def test_the_channels_between_are_of_the_known_history_only(self, world):
        world.append("before")
        known = world.log.follow()
        world.append(1)
        upto = world.log.head().position
        assert world.log.channels_between(known._replace(stamp=-1.0), upto, 9) is None
        assert world.log.channels_between(known._replace(stamp=None), upto, 9) is None
        assert world.log.channels_between(Known(known.position - 1, known.stamp), upto, 9) is None

    def test_what_was_removed_is_no_channel_between_and_shows_as_trimmed(self, world):
        world.append("before")
        known = world.log.follow()
        world.append(1, kept_s=LONG_AGO_S)
        removed = world.log.head().position
        world.append(2, channel=world.other)
        assert world.trim() == 1
        upto = world.log.head().position
        assert world.log.channels_between(known, upto, 9) == ({world.other: upto}, removed)

    def test_if_the_message_at_the_known_position_was_removed_no_channels_are_between(self, world):
        world.append(1, kept_s=LONG_AGO_S)
        known = world.log.follow()
        world.append(2)
        assert world.trim() == 1
        assert world.log.channels_between(known, world.log.head().position, 9) is None

    def test_a_lifetime_is_in_the_segment(self, world):
        segments = []
        world.log.append([world.draft(1, kept_s=60.0, perishable=True)])
        world.log.sequence(segments.append)
        [entry] = segments[0].entries
        assert entry.expires_at == world.look().entries[0].expires_at
        assert -5 < entry.expires_at - time.time() - 60 < 5

    def test_no_segment_is_of_nothing(self, world):
        segments = []
        assert world.log.sequence(segments.append) == 0
        assert segments == []

    @pytest.mark.parametrize(
        ("count", "payload"), [(SEGMENT_MESSAGES + 1, "x"), (2, "x" * (SEGMENT_BYTES // 2))]
    )
    def test_what_is_too_much_for_a_segment_is_left_to_a_look(self, world, count, payload):
        segments = []
        world.log.append([world.draft(payload) for _ in range(count)])
        assert world.log.sequence(segments.append) == count
        assert [each.entries for each in segments] in ([], [None])

    # Order and positions ------------------------------------------------------------

    def test_a_message_is_not_read_before_it_has_a_position(self, world):
        world.log.append([world.draft(1)])
        assert world.log.head() == (world.start, True)
        look = world.look()
        assert (look.head.position, look.waits, look.entries) == (world.start, True, [])
        assert world.read(world.reader()) == []
        assert world.sequence() == 1
        position, waits = world.log.head()
        assert position > world.start
        assert not waits
        assert world.sequence() == 0

    def test_positions_rise_in_the_order_of_appending(self, world):
        world.log.append([world.draft(number) for number in range(10)])
        world.append(*range(10, 15))
        entries = world.look().entries
        assert payloads(entries) == list(range(15))
        positions = [entry.position for entry in entries]
        assert positions == sorted(set(positions))
        assert positions[0] > world.start
        assert positions[-1] == world.log.head().position == world.look().head.position

    def test_an_entry_has_all_of_its_draft(self, world):
        before = time.time()
        world.append({"a": "é"}, type="paid", owner=world.ana, sender="till", uid="7")
        [entry] = world.look().entries
        assert (entry.channel, entry.listener, entry.owner) == (world.channel, None, world.ana)
        assert (entry.type, entry.sender, entry.uid) == ("paid", "till", "7")
        assert json.loads(entry.payload) == {"a": "é"}
        assert -1 < entry.created_at.timestamp() - before < 60
        assert entry.expires_at is None

    def test_threads_that_append_and_sequence_at_once_lose_and_swap_nothing(self, world):
        together = threading.Barrier(4)

        def publish(name):
            together.wait(20)
            for number in range(MANY // 4):
                world.log.append([world.draft([name, number])])
                world.log.sequence()

        with ThreadPoolExecutor(4) as threads:
            for done in [threads.submit(self.on_a_thread, publish, name) for name in "abcd"]:
                done.result(60)
        world.sequence()
        entries = world.look().entries
        positions = [entry.position for entry in entries]
        assert positions == sorted(set(positions))
        for name in "abcd":
            mine = [number for each, number in payloads(entries) if each == name]
            assert mine == list(range(MANY // 4))

    def on_a_thread(self, function, *args):
        """Call function(*args), on a thread of the test."""
        return function(*args)

    # Looking ------------------------------------------------------------------------

    def test_a_look_continues_after_the_known_position(self, world):
        world.append(1, 2, 3)
        head, seen = Known(world.start), []
        while look := world.look(head, limit=2):
            assert look.is_same
            if not look.entries:
                break
            seen += payloads(look.entries)
            last = look.entries[-1]
            head = Known(last.position, last.stamp, look.head.trimmed)
        assert seen == [1, 2, 3]
        assert world.look(look.head) == look
        world.append(4)
        assert payloads(world.look(look.head).entries) == [4]

    def test_a_look_can_be_limited_to_channels(self, world):
        world.append(1)
        world.append(2, channel=world.other)
        assert payloads(world.look(channels=[world.other]).entries) == [2]
        assert payloads(world.look(channels=[world.other, world.channel]).entries) == [1, 2]
        assert payloads(world.look(channels=[]).entries) == []

    def test_a_look_can_begin_later_for_a_channel(self, world):
        world.append(1, 2)
        world.append(3, channel=world.other)
        world.append(4, channel=NO_CHANNEL)
        world.append(5)
        entries = world.look().entries
        second, last = entries[1].position, entries[4].position
        look = world.look(channels={world.channel: second, world.other: 0, NO_CHANNEL: 0})
        assert payloads(look.entries) == [2, 3, 4, 5]
        assert look.head == world.look().head
        known = Known(second, entries[1].stamp)
        look = world.look(known, channels={world.channel: last, world.other: second})
        assert payloads(look.entries) == [3, 5]
        assert look.is_same
        assert payloads(world.look(channels={world.channel: last + 1}).entries) == []
        assert payloads(world.look(channels={world.other: last}, limit=1).entries) == []

    def test_a_follower_begins_at_the_head(self, world):
        world.append(1)
        known = world.log.follow()
        assert known.position == world.log.head().position
        assert world.look(known).is_same
        assert world.look(known).entries == []
        world.append(2)
        assert payloads(world.look(known).entries) == [2]

    # Reading ------------------------------------------------------------------------

    def test_a_listener_gets_messages_to_all_to_it_and_to_its_owner(self, world):
        world.append("all")
        world.append("phone", listener=world.phone)
        world.append("till", listener=world.till)
        world.append("ana", owner=world.ana)
        world.append("bob", owner=world.bob)
        world.append("other", channel=world.other)
        assert world.read(world.reader(world.phone, world.ana)) == ["all", "phone", "ana"]
        assert world.read(world.reader(world.laptop, world.ana)) == ["all", "ana"]
        assert world.read(world.reader(world.till)) == ["all", "till"]
        assert world.read(world.reader()) == ["all"]

    def test_readers_read_in_one_order(self, world):
        for number in range(6):
            world.append(number, channel=world.other if number % 2 else world.channel)
        both = world.reader(), world.reader(channel=world.other)
        assert world.read(*both) == list(range(6))
        assert world.read(*both, limit=4) == list(range(4))

    def test_pages_skip_nothing(self, world):
        for number in range(20):
            to = [{}, {"listener": world.phone}, {"owner": world.ana}][number % 3]
            world.append(number, **to)
        reader, found = world.reader(world.phone, world.ana), []
        head = world.log.head().position
        while reader.after < head:
            page = world.log.read([reader], head, 3)
            assert len(page) <= 3
            assert page.reached > reader.after
            assert all(entry.position <= page.reached for entry in page)
            found += payloads(page)
            reader = reader._replace(after=page.reached)
        assert found == list(range(20))

    def test_a_read_ends_at_the_given_position(self, world):
        world.append(1, 2)
        first = world.look().entries[0].position
        world.append(3)
        page = world.log.read([world.reader()], first, 10)
        assert (payloads(page), page.reached) == ([1], first)

    def test_notices_are_read_without_a_channel(self, world):
        world.append(["user:1"], channel=NO_CHANNEL, type=REVOKE)
        world.append(1)
        assert world.read(world.reader(channel=NO_CHANNEL)) == [["user:1"]]
        assert payloads(world.look(channels=[NO_CHANNEL]).entries) == [["user:1"]]

    def test_a_time_has_a_position(self, world):
        world.append(1, 2)
        time.sleep(0.01)
        moment = datetime.fromtimestamp(time.time(), timezone.utc)
        last = world.log.head().position
        assert world.log.position_at(moment) == last
        time.sleep(0.01)
        world.append(3)
        assert world.log.position_at(moment) == last
        assert world.log.position_at(moment.replace(year=2000)) == world.start

    # Expiry and retention -----------------------------------------------------------

    def test_an_expired_message_is_not_read_and_no_loss(self, world):
        world.append(1)
        world.append("expired", perishable=True, kept_s=LONG_AGO_S)
        world.append(2)
        assert world.read(world.reader()) == [1, 2]
        [_, expired, _] = world.look().entries
        assert expired.is_expired(time.time())
        assert world.trim() == 1
        assert world.read(world.reader()) == [1, 2]

    def test_a_message_that_has_just_expired_stays_for_hubs_to_read(self, world):
        world.append("expired", perishable=True, kept_s=-1.0)
        assert world.trim() == 0
        assert len(world.look().entries) == 1

    def test_a_message_stays_for_its_retention(self, world):
        world.append(1, kept_s=60.0)
        world.log.append([world.draft(2, kept_s=LONG_AGO_S)])
        assert world.trim() == 0  # it has no position yet
        world.sequence()
        assert world.trim() == 1
        assert payloads(world.look().entries) == [1]

    def test_a_reset_is_in_the_place_of_what_was_removed(self, world):
        world.append(0)
        world.append(1, 2, kept_s=LONG_AGO_S)
        lost = world.log.head().position
        world.append(3)
        assert world.trim() == 2
        page = world.log.read([world.reader(world.till)], None, 10)
        assert payloads(page) == [0, RESET, 3]
        assert page[1].position == lost
        assert json.loads(page[1].payload) == {"after": world.start, "floor": lost}
        after = world.reader(world.till)._replace(after=lost)
        assert world.read(after) == [3]

    def test_a_reset_is_only_for_those_that_missed_something(self, world):
        def read():
            readers = [
                world.reader(world.phone, world.ana),
                world.reader(world.laptop, world.ana),
                world.reader(world.till),
                world.reader(),
                world.reader(channel=world.other),
            ]
            return [world.read(reader) for reader in readers]

        world.append("phone", listener=world.phone, kept_s=LONG_AGO_S)
        assert world.trim() == 1
        assert read() == [[RESET], [], [], [], []]
        world.append("ana", owner=world.ana, kept_s=LONG_AGO_S)
        assert world.trim() == 1
        assert read() == [[RESET], [RESET], [], [], []]
        world.append("all", kept_s=LONG_AGO_S)
        assert world.trim() == 1
        assert read() == [[RESET], [RESET], [RESET], [RESET], []]

    def test_a_limit_does_not_hide_a_reset(self, world):
        world.append(0, 1)
        world.append(2, kept_s=LONG_AGO_S)
        world.append(3)
        world.trim()
        reader, found = world.reader(world.till), []
        while page := world.log.read([reader], None, 1):
            found += payloads(page)
            reader = reader._replace(after=page[-1].position)
        assert found == [0, 1, RESET, 3]

    def test_control_messages_are_no_loss(self, world):
        world.append(None, type=STOP, listener=world.till, kept_s=LONG_AGO_S)
        assert world.trim() == 1
        assert world.read(world.reader(world.till)) == []

    def test_a_removal_shows_in_the_head_and_is_no_other_history(self, world):
        world.append(1, kept_s=LONG_AGO_S)
        known = world.log.follow()
        world.append(2)
        assert world.trim() == 1
        look = world.look(known)
        assert look.is_same
        assert look.head.trimmed == known.position
        assert payloads(look.entries) == [2]

    # Limits -------------------------------------------------------------------------

    def test_over_the_waiting_limit_the_oldest_are_skipped(self, world, settings):
        settings.ERIC_SSE = {**settings.ERIC_SSE, "MAX_WAITING_MESSAGES": 3}
        world.append(0)
        world.append("stop", type=STOP, listener=world.till)
        world.append(1, 2, 3, 4)
        assert world.read(world.reader(world.till)) == ["stop", RESET, 2, 3, 4]
        assert world.read(world.reader()) == [0, 1, 2, 3, 4]  # a watcher has no queue

    # Histories ----------------------------------------------------------------------

    def test_a_new_history_is_above_all_and_begins_once(self, world):
        world.append(1)
        known = world.log.follow()
        begun = world.log.follow(known.position)
        assert number_of(begun.position) > number_of(known.position)
        assert world.log.follow(known.position) == begun
        assert world.log.follow() == begun
        assert not world.look(known).is_same
        assert world.look(begun).is_same
        world.append(2)
        assert payloads(world.look(begun).entries) == [2]

    def test_a_reader_that_crosses_the_beginning_of_a_history_gets_one_reset(self, world):
        world.append(1)
        base = base_of(world.log.follow(world.log.head().position).position)
        world.append(2)
        page = world.log.read([world.reader(world.till)], None, 10)
        assert payloads(page) == [1, RESET, 2]
        assert page[1].position == base
        assert world.read(Recipient(world.channel, world.till, None, base)) == [2]
        both = world.reader(world.till), world.reader(channel=world.other)
        positions = [entry.position for entry in world.log.read(both, None, 10)]
        assert len(set(positions)) == len(positions) == 4

    def test_a_position_after_the_head_is_not_of_this_history(self, world):
        world.append(1)
        known = world.log.follow()
        assert not world.look(known._replace(position=known.position + 10)).is_same
        assert not world.look(known._replace(stamp=-1.0)).is_same

    @pytest.mark.parametrize("position", [0, 1])
    def test_an_earlier_position_of_its_history_is_known(self, world, position):
        world.append(1, 2, 3)
        entry = world.look().entries[position]
        look = world.look(Known(entry.position, entry.stamp))
        assert look.is_same
        assert payloads(look.entries) == [2, 3][position:]
