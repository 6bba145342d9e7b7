import pytest

from eric_sse_django.message import Message, MessageContract, SignedMessage, UniqueMessage


def test_a_message_has_a_type_and_a_payload():
    message = Message("paid", {"id": 7})
    assert (message.type, message.payload) == ("paid", {"id": 7})


def test_a_message_without_a_payload_carries_none():
    assert Message("paid").payload is None


def test_a_signed_message_names_its_sender():
    message = SignedMessage("till-7", "paid", 7)
    assert (message.sender_id, message.type, message.payload) == ("till-7", "paid", 7)


def test_a_unique_message_shows_what_it_wraps():
    message = UniqueMessage(Message("paid", 7), sender_id="till-7", message_id="m-1")
    assert (message.id, message.sender_id) == ("m-1", "till-7")
    assert (message.type, message.payload) == ("paid", 7)


def test_unique_messages_differ():
    wrapped = Message("paid")
    one, other = UniqueMessage(wrapped), UniqueMessage(wrapped)
    assert one.id != other.id
    assert one.sender_id is None


@pytest.mark.parametrize("name", ["type", "payload"])
def test_a_message_is_read_only(name):
    with pytest.raises(AttributeError):
        setattr(Message("paid"), name, "other")


def test_a_contract_needs_a_type_and_a_payload():
    with pytest.raises(TypeError, match="payload"):
        MessageContract()


def test_repr_of_a_message_does_not_contain_the_payload():
    assert repr(Message("login", "secret")) == "<Message 'login'>"
