import json

import pytest

from eric_sse_django.entry import RESERVED_PREFIX, RESET, STOP, Entry


def entry(listener=None, owner=None):
    return Entry(7, 1, listener, owner, "paid", '{"id":7}')


@pytest.mark.parametrize(
    ("to", "reader", "is_for_it"),
    [
        ({}, (None, None), True),
        ({}, (3, None), True),
        ({"listener": 3}, (3, None), True),
        ({"listener": 3}, (4, None), False),
        ({"listener": 3}, (None, None), False),
        ({"owner": "ana"}, (3, "ana"), True),
        ({"owner": "ana"}, (3, "bob"), False),
        ({"owner": "ana"}, (3, None), False),
        ({"owner": "ana"}, (None, None), False),
    ],
)
def test_an_entry_is_for_all_for_one_listener_or_for_an_owners(to, reader, is_for_it):
    assert entry(**to).addressed(*reader) is is_for_it
    assert entry(**to).is_broadcast is not bool(to)


def test_a_frame_is_encoded_once_for_all_streams():
    made = []

    def encode(each):
        made.append(each)
        return b"frame %d" % each.position

    shared = entry()
    first = shared.frame(encode)
    assert first == b"frame 7"
    assert shared.frame(encode) is first
    assert made == [shared]


def test_its_size_grows_with_type_and_payload():
    assert entry().size == len("paid") + len('{"id":7}')


def test_it_is_expired_from_the_end_of_its_lifetime_on_if_it_has_one():
    mortal = Entry(7, 1, None, None, "paid", "1", expires_at=100.0)
    assert [mortal.is_expired(now) for now in (99.9, 100.0, 100.1)] == [False, True, True]
    assert not entry().is_expired(10**12)


def test_a_reset_has_the_id_of_the_last_loss_and_the_range():
    reset = Entry.reset(1, 3, after=10, floor=20)
    assert (reset.position, reset.type, reset.channel, reset.listener) == (20, RESET, 1, 3)
    assert json.loads(reset.payload) == {"after": 10, "floor": 20}


def test_the_apps_own_types_are_reserved():
    assert RESET.startswith(RESERVED_PREFIX)
    assert STOP.startswith(RESERVED_PREFIX)
