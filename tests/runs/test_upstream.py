"""A provider that can be resumed: no event is lost or doubled, wherever a worker is killed."""

from dataclasses import dataclass
from typing import Any

import pytest
from django.db import OperationalError

from eric_sse_django import runs
from eric_sse_django.runs import fence, writer
from tests.runs.tools import fresh, late, text_of


@dataclass
class Event:
    sequence_number: int
    delta: str = ""
    response: Any = None


class Response:
    id = "resp_7"


class Provider:
    """A work with numbered events, as OpenAI's Responses have them."""

    def __init__(self, words, breaks_after=None):
        self.events = [Event(0, response=Response)]
        self.events += [Event(number, word) for number, word in enumerate(words, start=1)]
        self.breaks_after = breaks_after
        self.asked = []

    def begin(self):
        self.asked.append(None)
        return self._events(-1)

    def resume(self, id, after):
        self.asked.append((id, after))
        return self._events(after)

    def _events(self, after):
        for event in self.events:
            if event.sequence_number > after:
                yield event
                if event.sequence_number == self.breaks_after:
                    self.breaks_after = None
                    raise ConnectionError


def write(out, provider):
    for event in runs.resume_upstream(out, provider.begin, provider.resume):
        if event.delta:
            out.write(event.delta.upper())
            out.write(event.delta)


WORDS = ["a", "b", "c", "d"]
WHOLE = "AaBbCcDd"


def test_output_is_made_from_all_events(database):
    run, provider = runs.start(), Provider(WORDS)
    with runs.produce(run) as out:
        write(out, provider)
    assert text_of(run) == WHOLE
    assert fresh(run).upstream == {"id": "resp_7", "number": 4}


@pytest.mark.parametrize("killed_after", range(10))
def test_a_successor_continues_wherever_a_worker_was_killed(database, monkeypatch, killed_after):
    run, provider, left = runs.start(), Provider(WORDS), [killed_after]
    original = fence.write

    def write_until_killed(flushes):
        if left[0] == 0:
            raise OperationalError("killed")
        left[0] -= 1
        return original(flushes)

    monkeypatch.setattr(fence, "write", write_until_killed)
    monkeypatch.setattr("eric_sse_django.outage.FIRST_DELAY_S", 60.0)
    gone = runs.produce(run)
    out = gone.__enter__()
    for event in runs.resume_upstream(out, provider.begin, provider.resume):
        if event.delta:
            out.write(event.delta.upper())
            out.write(event.delta)
            if left[0]:
                out._writer.flush(5)
    if left[0]:
        out._writer.flush(5)
    monkeypatch.undo()
    dead = writer.current()
    writer._forget_after_fork()
    dead.close()
    late(run)
    with runs.produce(runs.take_over(runs.get(run.id))) as successor:
        write(successor, provider)
    assert text_of(run) == WHOLE
    out._output.is_over = True
    gone.__exit__(None, None, None)


def test_what_is_written_in_a_loop_that_is_left_is_kept_unless_it_raised(database):
    for fails in (False, True):
        run, provider = runs.start(), Provider(WORDS)

        def work(run=run, provider=provider, fails=fails):
            with runs.produce(run) as out:
                for event in runs.resume_upstream(out, provider.begin, provider.resume):
                    out.write(event.delta)
                    if event.delta == "b":
                        if fails:
                            raise ZeroDivisionError
                        break

        if fails:
            with pytest.raises(ZeroDivisionError):
                work()
        else:
            work()
        assert text_of(run) == ("a" if fails else "ab")


def test_a_provider_that_begins_too_early_doubles_nothing(database):
    run, provider = runs.start(), Provider(WORDS)
    provider.resume = lambda id, after: provider._events(-1)
    with runs.produce(run) as out:
        for event in runs.resume_upstream(out, provider.begin, provider.resume):
            out.write(event.delta)
            if event.delta == "b":
                break
        out.flush()
        for event in runs.resume_upstream(out, provider.begin, provider.resume):
            out.write(event.delta)
    assert text_of(run) == "abcd"


async def test_a_coroutine_resumes_too(database, hub_closes):
    run, provider = await runs.astart(), Provider(WORDS)

    async def events(found):
        for event in found:
            yield event

    async def begin():
        return events(provider.begin())

    async def resume(id, after):
        return events(provider.resume(id, after))

    async with runs.aproduce(run) as out:
        async for event in runs.aresume_upstream(out, begin, resume):
            if event.delta:
                out.write(event.delta)
    assert "".join([chunk.value for chunk in await runs.aread(run)]) == "abcd"
