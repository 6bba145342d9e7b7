"""How chunks are stored: without a database."""

import json

from eric_sse_django.entry import Entry
from eric_sse_django.runs.chunks import CHUNK, Chunk, Group, chunks_of, pieces


def chunks_in(group: Group) -> list[Chunk]:
    return chunks_of(Entry(7, 1, 2, None, CHUNK, group.payload()))


def group(first: int, is_text: bool, *parts: str) -> Group:
    made = Group(first, is_text)
    for part in parts:
        made.add(part)
    return made


def test_joined_texts_are_split_where_they_were_joined():
    texts = ["a", "é", "👋 hi", "\ud800", "\n\n"]
    found = chunks_in(group(40, True, *texts))
    assert [(each.index, each.value) for each in found] == list(enumerate(texts, start=40))
    assert all(each.is_text for each in found)


def test_values_stay_apart_and_a_text_that_was_sent_is_a_value():
    found = chunks_in(group(3, False, '{"a":1}', '"text"', "null"))
    assert found == [Chunk(3, {"a": 1}, False), Chunk(4, "text", False), Chunk(5, None, False)]


def test_a_payload_is_one_line_of_ascii_with_its_first_index_and_count():
    payload = group(5, True, "one\n", "é").payload()
    assert payload.isascii()
    assert "\n" not in payload
    assert json.loads(payload) == {"i": 5, "n": 2, "text": "one\né", "l": [4, 1]}
    assert json.loads(group(5, True, "one").payload()) == {"i": 5, "n": 1, "text": "one"}


def test_a_message_of_another_type_has_no_chunks():
    assert chunks_of(Entry(7, 1, 2, None, "run-progress", '{"done": 1}')) == []


def test_a_long_text_is_several_chunks_and_an_empty_one_is_none():
    assert list(pieces("")) == []
    assert list(pieces("a" * 16_384)) == ["a" * 16_384]
    assert [len(piece) for piece in pieces("a" * 40_000)] == [16_384, 16_384, 7_232]
