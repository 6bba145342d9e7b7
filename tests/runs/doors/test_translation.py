"""Entries become the same events, however often and from whichever index they are encoded."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eric_sse_django.entry import Entry
from eric_sse_django.models import Channel, Listener
from eric_sse_django.runs import chunks
from eric_sse_django.runs.doors.ag_ui import AgUi
from eric_sse_django.runs.doors.ai_sdk import AiSdk
from eric_sse_django.runs.doors.workflow import Workflow
from eric_sse_django.runs.models import Run

VALUES = [
    {"type": "start", "messageId": "m"},
    {"type": "text-start", "id": "1"},
    {"type": "text-end", "id": "1"},
    {"type": "reasoning-start", "id": "1"},
    {"type": "TEXT_MESSAGE_START", "messageId": "1", "role": "assistant"},
    {"type": "TEXT_MESSAGE_END", "messageId": "1"},
    {"type": "finish"},
    {"mine": 1},
    [1],
]
TEXTS = st.text(min_size=1, max_size=5) | st.sampled_from(['","l":[1]', '"', "\\", "\u2028", "🚀"])
# The chunks of messages: texts, or values.
MESSAGES = st.lists(
    st.lists(TEXTS, min_size=1, max_size=3)
    | st.lists(st.sampled_from(VALUES), min_size=1, max_size=3),
    max_size=8,
)


def run():
    listener = Listener(name="the-run", channel=Channel(name="runs"))
    listener.pk = 1
    return Run(listener=listener)


def entries(messages, end=chunks.FINISHED):
    """Return the entries of a run that has written these messages, and ended."""
    found, index = [], 0
    for number, message in enumerate(messages, start=1):
        group = chunks.Group(index, isinstance(message[0], str))
        for value in message:
            group.add(value if group.is_text else json.dumps(value, separators=(",", ":")))
        found.append(Entry(number, 1, 1, None, chunks.CHUNK, group.payload()))
        index += len(message)
    payload = {"result": None} if end == chunks.FINISHED else {}
    found.append(Entry(len(messages) + 1, 1, 1, None, end, json.dumps(payload)))
    return found


def events_of(data):
    lines = [block.removeprefix("data: ") for block in data.decode().split("\n\n") if block]
    return [json.loads(line) for line in lines if line != "[DONE]"]


@pytest.mark.parametrize("kind", [AiSdk, AgUi, Workflow])
@settings(max_examples=200, deadline=None)
@given(messages=MESSAGES, order=st.randoms(use_true_random=False))
def test_an_entry_that_is_encoded_again_has_the_same_bytes(kind, messages, order):
    door, found = kind(run()), entries(messages)
    first = []
    for number, entry in enumerate(found):
        first.append(door(entry))
        earlier = order.randrange(number + 1)
        assert door(found[earlier]) == first[earlier]
    assert [door(entry) for entry in found] == first
    assert door.over_at == found[-1].position


@pytest.mark.parametrize(
    ("kind", "field"), [(AiSdk, "text-delta"), (AgUi, "TEXT_MESSAGE_CONTENT")]
)
@settings(max_examples=200, deadline=None)
@given(messages=MESSAGES)
def test_the_text_of_the_events_is_what_was_written(kind, field, messages):
    door = kind(run())
    events = events_of(b"".join(map(door, entries(messages))))
    written = "".join(value for each in messages for value in each if isinstance(value, str))
    assert "".join(each["delta"] for each in events if each["type"] == field) == written


@settings(max_examples=200, deadline=None)
@given(messages=MESSAGES, end=st.sampled_from(sorted(chunks.ENDS - {chunks.LOST})))
def test_every_start_index_gives_what_follows(messages, end):
    found = entries(messages, end)
    whole = events_of(b"".join(map(Workflow(run()), found)))
    for skip in range(len(whole) + 2):
        door = Workflow(run())
        door.skip = skip
        assert events_of(b"".join(map(door, found))) == whole[skip:]
