import pickle

import pytest

from eric_sse_django.exception import (
    EricError,
    InvalidChannelException,
    InvalidConnectionException,
    InvalidListenerException,
    InvalidMessageFormat,
    ItemNotFound,
    NoMessagesException,
    RepositoryError,
    TooManyListeners,
)

EVERY = [
    InvalidChannelException("orders"),
    InvalidChannelException("orders", "run `manage.py migrate`"),
    InvalidConnectionException("c-1"),
    InvalidListenerException("till-7"),
    InvalidListenerException("till-7", "orders"),
    NoMessagesException("it is not running", "till-7"),
    InvalidMessageFormat("the type has a line feed"),
    RepositoryError("disk full"),
    ItemNotFound("till-7"),
    TooManyListeners("orders", 7, 5),
]


@pytest.mark.parametrize("error", EVERY, ids=repr)
def test_an_error_names_all_its_values(error):
    assert isinstance(error, EricError)
    for name, value in vars(error).items():
        assert value is None or str(value) in str(error), name


@pytest.mark.parametrize("error", EVERY, ids=repr)
def test_an_error_survives_pickling(error):
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


@pytest.mark.parametrize(
    "kind",
    [
        InvalidChannelException,
        InvalidConnectionException,
        InvalidListenerException,
        NoMessagesException,
        InvalidMessageFormat,
        RepositoryError,
    ],
)
def test_an_error_can_be_raised_with_nothing_or_a_text(kind):
    assert str(kind()).endswith(".")
    assert "some text" in str(kind("some text"))


def test_a_repository_error_takes_what_the_store_raised():
    assert "disk full" in str(RepositoryError(OSError("disk full")))


def test_item_not_found_keeps_the_key():
    assert ItemNotFound("till-7").key == "till-7"
