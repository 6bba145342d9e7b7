"""Each stream is called when it is due, and no other one."""

import pytest

from eric_sse_django.hub.hub import Deadlines


class Sleeper:
    """Wants its next call after a while; notes its calls."""

    def __init__(self, every_s):
        self.due_at = 0.0
        self.calls = []
        self._every_s = every_s

    def on_tick(self, now):
        self.calls.append(now)
        return now + self._every_s


@pytest.fixture
def deadlines():
    return Deadlines()


def tick(deadlines, *times):
    for now in times:
        deadlines.tick(now)


def test_a_new_one_is_called_at_the_next_tick(deadlines):
    sleeper = Sleeper(every_s=100)
    deadlines.add(sleeper)
    tick(deadlines, 50.5)
    assert sleeper.calls == [50.5]


def test_none_is_called_before_the_second_it_returned(deadlines):
    sleeper = Sleeper(every_s=10)
    deadlines.add(sleeper)
    tick(deadlines, 50.5, *range(51, 60), 60.5)
    assert sleeper.calls == [50.5, 60.5]


def test_one_that_is_hastened_is_called_at_the_next_tick(deadlines):
    sleeper = Sleeper(every_s=100)
    deadlines.add(sleeper)
    tick(deadlines, 50)
    deadlines.hasten(sleeper)
    tick(deadlines, 51)
    assert sleeper.calls == [50, 51]


def test_one_that_hastens_itself_is_called_at_each_tick(deadlines):
    class Ending(Sleeper):
        def on_tick(self, now):
            deadlines.hasten(self)
            super().on_tick(now)
            return 0.0

    sleeper = Ending(every_s=100)
    deadlines.add(sleeper, 50.0)
    tick(deadlines, 50, 51, 52)
    assert sleeper.calls == [50, 51, 52]


def test_one_that_was_removed_is_not_called(deadlines):
    sleeper = Sleeper(every_s=10)
    deadlines.add(sleeper)
    tick(deadlines, 50)
    deadlines.discard(sleeper)
    deadlines.discard(sleeper)
    deadlines.hasten(sleeper)
    tick(deadlines, 51, 100)
    assert sleeper.calls == [50]


def test_one_that_removes_itself_when_called_is_not_added_again(deadlines):
    class Leaving(Sleeper):
        def on_tick(self, now):
            deadlines.discard(self)
            return super().on_tick(now)

    sleeper = Leaving(every_s=1)
    deadlines.add(sleeper)
    tick(deadlines, 50, 60)
    assert sleeper.calls == [50]


class Failing(Sleeper):
    def on_tick(self, now):
        raise ZeroDivisionError

    def end(self, reason):
        self.reason = reason


def test_one_that_fails_ends_and_the_others_are_called(caplog):
    table = Deadlines()
    failing, others = Failing(1), [Sleeper(60) for _ in range(20)]
    for each in (*others[:10], failing, *others[10:]):
        table.add(each)
    table.tick(5.0)
    assert failing.reason == "error"
    assert [each.calls for each in others] == [[5.0]] * 20
    assert "a stream failed at its time" in caplog.text
