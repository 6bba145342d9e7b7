"""
The strict reader against WHATWG HTML 9.2.5 (parsing) and 9.2.6 (interpreting a stream).

See: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import pytest

from tests.sse import Event, SSEReader


def read(stream: bytes) -> list[Event]:
    return SSEReader().feed(stream)


def test_9_2_5_one_leading_bom_is_stripped():
    assert read(b"\xef\xbb\xbfdata: a\n\n") == [Event("message", "a", "")]


def test_9_2_5_a_second_bom_is_part_of_the_field_name():
    reader = SSEReader()
    assert reader.feed(b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n") == []
    assert reader.ignored == ["\ufeffdata: a"]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_9_2_5_lf_cr_and_crlf_each_end_a_line(end):
    assert read(end.join([b"event: e", b"data: a", b"", b""])) == [Event("e", "a", "")]


def test_9_2_5_line_ends_may_be_mixed():
    assert read(b"data: a\rdata: b\ndata: c\r\n\r") == [Event("message", "a\nb\nc", "")]


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_9_2_5_chunk_borders_change_nothing(size):
    stream = "\ufeffid: 1\r\nevent: é\r\ndata: €\r\n\r\n: c\r\rdata: b\n\n".encode()
    reader = SSEReader()
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    events = [event for piece in pieces for event in reader.feed(piece)]
    assert events == [Event("é", "€", "1"), Event("message", "b", "1")]
    assert reader.comments == [" c"]


def test_9_2_5_a_cr_at_the_end_of_a_chunk_ends_the_line_at_once():
    reader = SSEReader()
    assert reader.feed(b"data: a\r\n\r") == [Event("message", "a", "")]
    assert reader.feed(b"\n") == []
    assert reader.feed(b"\n") == []


def test_9_2_5_an_empty_chunk_between_cr_and_lf_changes_nothing():
    reader = SSEReader()
    assert reader.feed(b"data: a\r") == []
    assert reader.feed(b"") == []
    assert reader.feed(b"\ndata: b\n\n") == [Event("message", "a\nb", "")]


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\u0085", "\v", "\f", "\x1c"])
def test_9_2_5_no_other_character_ends_a_line(character):
    stream = f"data: a{character}b\n\n".encode()
    assert read(stream) == [Event("message", f"a{character}b", "")]


def test_9_2_5_bytes_that_are_not_utf8_become_replacement_characters():
    assert read(b"data: a\xffb\n\n") == [Event("message", "a\ufffdb", "")]


def test_9_2_6_a_blank_line_dispatches():
    assert read(b"data: a\n\ndata: b\n\n") == [
        Event("message", "a", ""),
        Event("message", "b", ""),
    ]


def test_9_2_6_a_line_that_starts_with_a_colon_is_a_comment():
    reader = SSEReader()
    assert reader.feed(b":ok\n:\n: data: a\n\n") == []
    assert reader.comments == ["ok", "", " data: a"]


def test_9_2_6_one_space_after_the_colon_is_dropped_and_only_one():
    assert read(b"data:a\ndata: a\ndata:  a\n\n") == [Event("message", "a\na\n a", "")]


def test_9_2_6_the_value_starts_after_the_first_colon():
    assert read(b"event: e:1\ndata: a:b: c\n\n") == [Event("e:1", "a:b: c", "")]


def test_9_2_6_a_line_without_colon_is_a_field_without_value():
    assert read(b"data\n\n") == [Event("message", "", "")]
    assert read(b"data\ndata\n\n") == [Event("message", "\n", "")]


def test_9_2_6_field_names_are_case_sensitive_and_unknown_ones_ignored():
    reader = SSEReader()
    assert reader.feed(b"Data: a\n data: b\nnoise: c\ndata : d\n\n") == []
    assert reader.ignored == ["Data: a", " data: b", "noise: c", "data : d"]


def test_9_2_6_event_sets_the_type_and_the_last_one_counts():
    assert read(b"event: a\nevent: b\ndata\n\n") == [Event("b", "", "")]


def test_9_2_6_an_empty_event_field_means_message():
    assert read(b"event: a\nevent:\ndata\n\n") == [Event("message", "", "")]


def test_9_2_6_the_type_is_forgotten_after_a_block_without_data():
    assert read(b"event: a\n\ndata: b\n\n") == [Event("message", "b", "")]


def test_9_2_6_id_stays_for_later_events():
    assert read(b"id: 1\ndata: a\n\ndata: b\n\n") == [
        Event("message", "a", "1"),
        Event("message", "b", "1"),
    ]


def test_9_2_6_a_block_of_only_an_id_moves_the_last_event_id_without_an_event():
    reader = SSEReader()
    assert reader.feed(b"id: 500\n\n") == []
    assert reader.last_event_id == "500"


def test_9_2_6_an_empty_id_resets_the_last_event_id():
    reader = SSEReader(last_event_id="7")
    assert reader.feed(b"id\ndata: a\n\n") == [Event("message", "a", "")]
    assert reader.last_event_id == ""


def test_9_2_6_an_id_with_nul_is_ignored():
    reader = SSEReader(last_event_id="7")
    assert reader.feed(b"id: 1\x002\ndata: a\n\n") == [Event("message", "a", "7")]
    assert reader.ignored == ["id: 1\x002"]


def test_9_2_6_an_id_counts_only_once_its_block_is_complete():
    reader = SSEReader(last_event_id="7")
    reader.feed(b"id: 8\ndata: a\n")
    assert reader.last_event_id == "7"


def test_9_2_6_retry_takes_ascii_digits_only():
    reader = SSEReader()
    reader.feed("retry: 1s\nretry: -1\nretry: ٣\nretry\n".encode())
    assert reader.retry_ms is None
    assert len(reader.ignored) == 4
    reader.feed(b"retry: 0250\n")
    assert reader.retry_ms == 250


def test_9_2_6_an_unterminated_event_is_dropped():
    assert read(b"data: a\n\ndata: b\n") == [Event("message", "a", "")]
    assert read(b"data: a\n\ndata: b") == [Event("message", "a", "")]


def test_9_2_6_the_examples_of_the_standard():
    assert read(b"data: YHOO\ndata: +2\ndata: 10\n\n") == [Event("message", "YHOO\n+2\n10", "")]
    assert read(b"data\n\ndata\ndata\n\ndata:") == [
        Event("message", "", ""),
        Event("message", "\n", ""),
    ]
    assert read(b"data:test\n\ndata: test\n\n") == [Event("message", "test", "")] * 2
