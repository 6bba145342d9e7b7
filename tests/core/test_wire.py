"""The wire, clause by clause. "WHATWG" is the HTML standard's chapter 9.2."""

import json
import math
import random
import re
from collections import UserDict, UserList, deque
from fractions import Fraction
from types import MappingProxyType

import pytest

from eric_sse_django import wire
from eric_sse_django.entry import Entry
from eric_sse_django.exception import InvalidMessageFormat
from tests.sse import SSEReader

MANY_BYTES = 1_000_000


def nested(levels):
    value = []
    for level in range(levels - 1):
        value = [value] if level % 2 else {"in": value}
    return value


def read(data):
    """Return the events in `data`, as a client sees them."""
    return list(SSEReader().feed(data))


class TestPayload:
    @pytest.mark.parametrize(
        ("payload", "text"),
        [
            (None, "null"),
            ({"id": 7, "of": [1, 2]}, '{"id":7,"of":[1,2]}'),
            ("two\nlines", r'"two\nlines"'),
            ("☃ \U0001f600 \u2028", r'"\u2603 \ud83d\ude00 \u2028"'),
            (2**200, str(2**200)),
            (-0.0, "-0.0"),
        ],
    )
    def test_it_becomes_one_short_line_of_ascii(self, payload, text):
        assert wire.json_text(payload, MANY_BYTES) == text

    @pytest.mark.parametrize("payload", ["\ud800", "\udfff\ud800", {"\ud83d": ["\udc00"]}])
    def test_lone_surrogates_survive(self, payload):
        text = wire.json_text(payload, MANY_BYTES)
        assert json.loads(text.encode().decode()) == payload

    @pytest.mark.parametrize(
        "payload",
        [
            math.nan,
            math.inf,
            [-math.inf],
            {"deep": {"er": math.nan}},
            object(),
            {1, 2},
            b"bytes",
            {("a", "b"): 1},
            10**5000,
        ],
        ids=lambda payload: type(payload).__name__,
    )
    def test_what_json_cannot_represent_is_refused(self, payload):
        with pytest.raises(InvalidMessageFormat, match="cannot be encoded as JSON"):
            wire.json_text(payload, MANY_BYTES)

    @pytest.mark.parametrize(
        ("payload", "place"),
        [
            ({"order": {"total": 1j}}, "payload['order']['total'] is of type complex"),
            ([0, {"a": [object()]}], "payload[1]['a'][0] is of type object"),
            ((1, b"x"), "payload[1] is of type bytes"),
            ({"rate": math.nan}, "payload['rate'] is nan"),
            ({"a": {("b", 1): 2}}, "payload['a'] has a key of type tuple"),
            ({"x" * 60: {1}}, "payload['" + "x" * 49 + "…] is of type set"),
            (UserDict({"a": UserList([1, {2}])}), "payload['a'][1] is of type set"),
            (Fraction(1, 2), "payload is of type fractions.Fraction"),
        ],
        ids=lambda each: each if isinstance(each, str) else "",
    )
    def test_a_refusal_names_the_place_and_the_type(self, payload, place):
        with pytest.raises(InvalidMessageFormat, match=f"its {re.escape(place)}, which"):
            wire.json_text(payload, MANY_BYTES)

    @pytest.mark.parametrize(
        ("payload", "text"),
        [
            (UserDict({"a": UserList([1])}), '{"a":[1]}'),
            (MappingProxyType({"a": 1}), '{"a":1}'),
            (range(3), "[0,1,2]"),
            (deque("ab"), '["a","b"]'),
        ],
        ids=lambda each: each if isinstance(each, str) else "",
    )
    def test_mappings_and_sequences_are_encoded(self, payload, text):
        assert wire.json_text(payload, MANY_BYTES) == text

    def test_an_encoder_of_another_class_decides_what_is_encoded(self):
        class Encoder(json.JSONEncoder):
            def default(self, o):
                return {"half": [1j]} if isinstance(o, Fraction) else super().default(o)

        class Broken(json.JSONEncoder):
            def default(self, o):
                raise ZeroDivisionError

        with pytest.raises(
            InvalidMessageFormat, match=r"payload\[0\]\['half'\]\[0\] is of type complex"
        ):
            wire.json_text([Fraction(1, 2)], MANY_BYTES, wire.encoder(Encoder))
        with pytest.raises(InvalidMessageFormat, match=r"payload is of type fractions.Fraction"):
            wire.json_text(Fraction(1, 2), MANY_BYTES, wire.encoder(Broken))

    @pytest.mark.parametrize(
        ("raised", "reason"),
        [
            (ValueError("no currency"), "(ValueError: no currency)"),
            (ZeroDivisionError(), "(ZeroDivisionError)"),
            (KeyError("x" * 999), "(KeyError: '" + "x" * 189 + "…)"),
        ],
        ids=lambda each: each if isinstance(each, str) else "",
    )
    def test_a_refusal_has_the_encoders_own_reason(self, raised, reason):
        class Encoder(json.JSONEncoder):
            def default(self, o):
                raise raised

        with pytest.raises(InvalidMessageFormat, match=r"payload\[0\] is of type") as refused:
            wire.json_text([Fraction(1, 2)], MANY_BYTES, wire.encoder(Encoder))
        assert f"Fraction {reason}, which cannot be encoded" in str(refused.value)

    def test_a_circle_is_refused(self):
        circle = []
        circle.append(circle)
        with pytest.raises(InvalidMessageFormat, match="cannot be encoded as JSON"):
            wire.json_text(circle, MANY_BYTES)

    def test_a_payload_of_the_allowed_size_passes_and_one_byte_more_does_not(self):
        assert len(wire.json_text("x" * 98, 100)) == 100
        with pytest.raises(InvalidMessageFormat, match=r"101 bytes.*100 are allowed"):
            wire.json_text("x" * 99, 100)

    def test_the_size_limit_counts_bytes_not_characters(self):
        with pytest.raises(InvalidMessageFormat, match="62 bytes"):
            wire.json_text("☃" * 10, 61)

    def test_nesting_is_bounded_below_what_any_python_can_read(self):
        assert json.loads(wire.json_text(nested(wire.MAX_DEPTH), MANY_BYTES))
        with pytest.raises(InvalidMessageFormat, match="levels"):
            wire.json_text(nested(wire.MAX_DEPTH + 1), MANY_BYTES)

    @pytest.mark.parametrize("levels", [500, 100_000])
    def test_endless_nesting_is_refused(self, levels):
        with pytest.raises(InvalidMessageFormat):
            wire.json_text(nested(levels), MANY_BYTES)

    @pytest.mark.parametrize(
        "wide",
        [
            [[]] * 500,
            [{"a": [1]}] * 500,
            "[" * 500,
            ['\\"[' * 50, "{" * 200, '"' * 200],
            {"[" * 200: "\\"},
        ],
        ids=["lists", "dicts", "a string", "quotes", "a key"],
    )
    def test_width_and_brackets_in_strings_are_no_depth(self, wide):
        assert json.loads(wire.json_text(wide, MANY_BYTES)) == wide


class TestType:
    @pytest.mark.parametrize("kind", ["paid", "", " ", "e:1", "☃", "\u2028", "x" * 255])
    def test_any_one_line_is_a_type(self, kind):
        assert wire.check_text("type", kind, 255) == kind

    @pytest.mark.parametrize("kind", ["a\r", "a\nb", "\r\nid: 9", "a\0", "\0"])
    def test_cr_lf_and_nul_are_refused(self, kind):
        with pytest.raises(InvalidMessageFormat, match="CR, LF or NUL"):
            wire.check_text("type", kind, 255)

    @pytest.mark.parametrize("kind", [None, 7, b"paid", ["paid"]])
    def test_a_type_that_is_not_a_str_is_refused(self, kind):
        with pytest.raises(InvalidMessageFormat, match="not a str"):
            wire.check_text("type", kind, 255)

    def test_a_lone_surrogate_is_refused(self):
        with pytest.raises(InvalidMessageFormat, match="surrogate"):
            wire.check_text("type", "a\ud800", 255)

    def test_more_characters_than_the_column_has_are_refused(self):
        with pytest.raises(InvalidMessageFormat, match="256 characters, 255"):
            wire.check_text("type", "x" * 256, 255)


def json_frame(type, payload, position):
    return wire.channel_encoder(as_text=False)(Entry(position, 1, None, None, type, payload))


class TestEvent:
    """WHATWG 9.2.6, Interpreting an event stream."""

    def test_a_message_has_id_event_and_data(self):
        frame = json_frame("paid", '{"id":7}', 42)
        assert frame == b'id: 42\nevent: paid\ndata: {"id":7}\n\n'

    def test_only_the_given_fields_are_sent(self):
        assert wire.encode("", "x") == b"data: x\n\n"
        assert wire.encode("paid", "x", 42, 3000) == (
            b"id: 42\nevent: paid\nretry: 3000\ndata: x\n\n"
        )

    def test_data_has_one_field_for_each_of_its_lines(self):
        assert wire.encode("", "a\nb\r\nc\rd") == b"data: a\ndata: b\ndata: c\ndata: d\n\n"

    @pytest.mark.parametrize("text", ["", "\n", "a\n", "\r\r", "\n\r\n", " a", ": a", "id: 9"])
    def test_a_client_reads_the_same_lines(self, text):
        [event] = read(wire.encode("note", text, 1))
        lines = text.replace("\r\n", "\n").replace("\r", "\n")
        assert (event.type, event.data) == ("note", lines)

    @pytest.mark.parametrize("char", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\0"])
    def test_no_other_character_ends_a_line(self, char):
        [event] = read(wire.encode("note", f"a{char}b", 1))
        assert event.data == f"a{char}b"

    def test_a_lone_surrogate_in_text_does_not_break_the_stream(self):
        [event] = read(wire.encode("note", "a\ud800b", 1))
        assert event.data == "a?b"

    @pytest.mark.parametrize("seed", range(20))
    def test_any_payload_reaches_the_client_as_it_was_published(self, seed):
        chance = random.Random(seed)
        alphabet = '\r\n\0"\\ :{}[]\u2028\u2029\ufeffaé☃\U0001f600\ud800'
        payload = {
            "".join(chance.choices(alphabet, k=5)): "".join(chance.choices(alphabet, k=20))
            for _ in range(5)
        }
        frame = json_frame("kind", wire.json_text(payload, MANY_BYTES), seed)
        [event] = read(frame)
        assert json.loads(event.data) == payload


class TestText:
    def test_a_string_is_sent_unchanged(self):
        assert wire.text_of('"<b>Zo\\u00eb</b>\\n"') == "<b>Zoë</b>\n"

    @pytest.mark.parametrize("payload", ["null", "7", '{"a":1}', '["a"]'])
    def test_other_values_are_sent_as_json(self, payload):
        assert wire.text_of(payload) == payload


class TestWithoutMessage:
    """What is sent between messages fires no event in a client."""

    @pytest.mark.parametrize(
        "data",
        [
            wire.HEARTBEAT,
            wire.opening(3000, 7, blank=True),
            wire.opening(3000, 7, blank=False),
            wire.mark(7, blank=True),
            wire.mark(7, blank=False),
            wire.farewell(900),
        ],
    )
    def test_it_dispatches_no_event(self, data):
        assert read(data) == []

    def test_the_opening_and_a_mark_set_the_last_event_id(self):
        for data in (wire.opening(3000, 7, blank=True), wire.mark(7, blank=True)):
            reader = SSEReader()
            list(reader.feed(data))
            assert reader.last_event_id == "7"

    def test_opening_and_farewell_set_the_time_to_reconnect(self):
        assert wire.opening(3000, 7, blank=True).startswith(b"retry: 3000\n")
        assert wire.farewell(900) == b"retry: 900\n"
