"""Who is told the time: who is due, and nobody else."""

import pytest

from eric_sse_django.hub.timetable import Timetable


class Sleeper:
    """Wants to be told again after a while; notes when it was."""

    def __init__(self, every_s):
        self.due_at = 0.0
        self.told = []
        self._every_s = every_s

    def on_tick(self, now):
        self.told.append(now)
        return now + self._every_s


@pytest.fixture
def timetable():
    return Timetable()


def tick(timetable, *times):
    for now in times:
        timetable.tick(now)


def test_a_new_one_is_told_at_the_next_tick(timetable):
    sleeper = Sleeper(every_s=100)
    timetable.add(sleeper)
    tick(timetable, 50.5)
    assert sleeper.told == [50.5]


def test_nobody_is_told_before_the_second_it_asked_for(timetable):
    sleeper = Sleeper(every_s=10)
    timetable.add(sleeper)
    tick(timetable, 50.5, *range(51, 60), 60.5)
    assert sleeper.told == [50.5, 60.5]


def test_one_that_is_hastened_is_told_at_the_next_tick(timetable):
    sleeper = Sleeper(every_s=100)
    timetable.add(sleeper)
    tick(timetable, 50)
    timetable.hasten(sleeper)
    tick(timetable, 51)
    assert sleeper.told == [50, 51]


def test_one_that_hastens_itself_when_told_is_told_at_each_tick(timetable):
    class Ending(Sleeper):
        def on_tick(self, now):
            timetable.hasten(self)
            super().on_tick(now)
            return 0.0

    sleeper = Ending(every_s=100)
    timetable.add(sleeper, 50.0)
    tick(timetable, 50, 51, 52)
    assert sleeper.told == [50, 51, 52]


def test_one_that_was_taken_out_is_told_nothing_and_not_kept(timetable):
    sleeper = Sleeper(every_s=10)
    timetable.add(sleeper)
    tick(timetable, 50)
    timetable.discard(sleeper)
    timetable.discard(sleeper)
    timetable.hasten(sleeper)
    tick(timetable, 51, 100)
    assert sleeper.told == [50]


def test_one_that_leaves_when_told_does_not_come_back(timetable):
    class Leaving(Sleeper):
        def on_tick(self, now):
            timetable.discard(self)
            return super().on_tick(now)

    sleeper = Leaving(every_s=1)
    timetable.add(sleeper)
    tick(timetable, 50, 60)
    assert sleeper.told == [50]


class Failing(Sleeper):
    def on_tick(self, now):
        raise ZeroDivisionError

    def end(self, reason):
        self.reason = reason


def test_one_that_fails_at_its_time_ends_and_others_are_told_it(caplog):
    table = Timetable()
    failing, others = Failing(1), [Sleeper(60) for _ in range(20)]
    for each in (*others[:10], failing, *others[10:]):
        table.add(each)
    table.tick(5.0)
    assert failing.reason == "error"
    assert [each.told for each in others] == [[5.0]] * 20
    assert "a stream failed at its time" in caplog.text
