"""A window: the positions after which the messages of each channel come."""

import json

import pytest

from eric_sse_django.entry import NO_CHANNEL, REVOKE
from eric_sse_django.log import Draft, MemoryLog
from eric_sse_django.notifier import Notifier
from eric_sse_django.notifier import window as window_module
from eric_sse_django.notifier.window import Window


class CountingLog(MemoryLog):
    """Counts what is read."""

    reads = 0

    def channels_between(self, known, upto, limit, /):
        self.reads += 1
        return super().channels_between(known, upto, limit)


@pytest.fixture
def memory():
    return CountingLog()


@pytest.fixture
def window(memory):
    return Window(memory)


def draft(channel=1, kept_s=60.0, type="n"):
    return Draft(channel, kept_s, False, type, json.dumps(0))


def sequenced(memory, *channels, **options):
    """Append messages of these channels, and return what is passed on when they are sequenced."""
    memory.append([draft(channel, **options) for channel in channels])
    segments = []
    memory.sequence(segments.append)
    return segments[0]


def test_a_message_comes_after_the_last_one_of_its_channel(memory, window):
    first = window.place(sequenced(memory, 1, 2))
    begin = first.before.position
    assert first.afters == {1: begin, 2: begin, NO_CHANNEL: begin}
    second = window.place(sequenced(memory, 1))
    assert second.afters == {1: begin + 1, NO_CHANNEL: begin}
    assert window.place(sequenced(memory, 2, 1)).afters == {
        2: begin + 2,
        1: begin + 3,
        NO_CHANNEL: begin,
    }
    assert memory.reads == 0


def test_what_needs_no_query_is_placed_without_waiting(memory, window):
    segment = sequenced(memory, 1)
    assert window.place_at_once(segment) is None  # nothing is known yet
    begin = window.place(segment).known.position
    placed = window.place_at_once(sequenced(memory, 1, 2))
    assert placed.afters == {1: begin, 2: begin - 1, NO_CHANNEL: begin - 1}


def test_what_another_process_came_before_is_not_placed_without_waiting(memory, window):
    window.place(sequenced(memory, 1))
    sequenced(memory, 1)  # by another process
    assert window.place_at_once(sequenced(memory, 1)) is None
    assert memory.reads == 0


def test_while_another_thread_places_nothing_waits_for_it(memory, window):
    window.place(sequenced(memory, 1))
    next_one = sequenced(memory, 1)
    with window._lock:
        assert window.place_at_once(next_one) is None
    assert window.place_at_once(next_one) is not None


def test_the_last_notice_is_that_of_no_channel(memory, window):
    begin = window.place(sequenced(memory, 1)).before.position
    notice = window.place(sequenced(memory, 1, NO_CHANNEL, type=REVOKE))
    assert notice.afters[NO_CHANNEL] == begin
    assert notice.by_channel() == []
    [after] = window.place(sequenced(memory, 1)).by_channel()
    assert after.notices == notice.known.position == begin + 3


def test_what_another_process_sequences_in_between_is_read(memory, window):
    begin = window.place(sequenced(memory, 1, 2)).before.position
    sequenced(memory, 2, NO_CHANNEL)
    sequenced(memory, 3)
    placed = window.place(sequenced(memory, 1, 2, 3, 4))
    assert placed.afters == {
        1: begin + 1,
        2: begin + 3,
        NO_CHANNEL: begin + 4,
        3: begin + 5,
        4: begin,
    }
    assert memory.reads == 1


def test_one_that_was_overtaken_is_after_all_before_it_and_changes_nothing(memory, window):
    begin = window.place(sequenced(memory, 1, 2)).before.position
    late, segment = sequenced(memory, 1), sequenced(memory, 2)
    assert window.place(segment).afters == {2: begin + 2, NO_CHANNEL: begin}
    assert window.place(late).afters == {1: begin + 2, NO_CHANNEL: begin + 2}
    assert window.place(sequenced(memory, 1, 3)).afters == {
        1: begin + 3,
        3: begin,
        NO_CHANNEL: begin,
    }
    assert memory.reads == 1


def test_after_more_than_is_read_it_begins_again(memory, window, monkeypatch):
    monkeypatch.setattr(window_module, "MAX_BETWEEN", 2)
    window.place(sequenced(memory, 1))
    rival = sequenced(memory, 2, 2, 2)
    placed = window.place(sequenced(memory, 1, 3))
    assert set(placed.afters.values()) == {rival.known.position}


def test_a_segment_without_entries_is_after_all_of_it(memory, window):
    whole = window.place(sequenced(memory, 1, 2, 3)._replace(entries=None))
    assert window.place(sequenced(memory, 1, 4)).afters == {
        1: whole.known.position,
        4: whole.before.position,
        NO_CHANNEL: whole.before.position,
    }


def test_when_there_are_too_many_channels_the_oldest_is_forgotten(memory, window, monkeypatch):
    monkeypatch.setattr(window_module, "MAX_CHANNELS", 3)
    begin = window.place(sequenced(memory, 1, 2, 3, 4)).before.position
    placed = window.place(sequenced(memory, 1, 2, 3, 4, 5))
    expected = {1: 1, 2: 2, 3: 3, 4: 4, 5: 1, NO_CHANNEL: 1}
    assert placed.afters == {channel: begin + after for channel, after in expected.items()}


def test_in_another_history_it_begins_again(memory, window):
    window.place(sequenced(memory, 1, 2))
    begun = memory.follow(memory.head().position)
    placed = window.place(sequenced(memory, 1))
    assert placed.before.position == begun.position
    assert set(placed.afters.values()) == {begun.position}


def test_if_the_log_went_back_it_begins_again(memory, window):
    window.place(sequenced(memory, 1))
    again = sequenced(memory, 1)
    # As if other messages had got the positions from there on.
    memory._entries[0] = sequenced(MemoryLog(), 1).entries[0]
    memory._entries[0].position = again.before.position
    placed = window.place(sequenced(memory, 2))
    assert set(placed.afters.values()) == {again.known.position}


def test_what_was_removed_before_it_could_be_read_shows_as_trimmed(memory, window):
    window.place(sequenced(memory, 1))
    removed = sequenced(memory, 1, kept_s=-3_600.0)
    segment = sequenced(memory, 1)
    assert memory.trim() == 1  # after the head was read
    [placed] = window.place(segment).by_channel()
    assert placed.after < removed.known.position == placed.known.trimmed


def test_the_notifier_uses_it_where_segments_are_routed(memory):
    for routes in (False, True):
        segments = []
        notifier = Notifier(memory, routes=routes)
        notifier.subscribe(segments.append)
        memory.append([draft()])
        notifier.ring()
        assert notifier.flush(5)
        notifier.close()
        assert [each.afters is not None for each in segments if each] == [routes]
