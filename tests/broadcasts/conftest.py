"""Fixtures: the channel of orders, and a page that shows them."""

import pytest

from eric_sse_django.database import DatabaseChannel
from tests import databases
from tests.broadcasts.page import Page

FIELDS = ("id", "number", "total", "is_open", "customer_id")


@pytest.fixture
def channel(database):
    if databases.USERS is not None:
        pytest.skip("the models are in another database than the log")
    return DatabaseChannel.create("orders")


@pytest.fixture
def page(channel):
    from tests.shop.models import Order

    return Page("orders", "order", lambda: list(Order.objects.values(*FIELDS)))


@pytest.fixture
def table():
    """Return a function that returns the table's rows by id."""
    from tests.shop.models import Order

    return lambda: {row["id"]: row for row in Order.objects.values(*FIELDS)}


@pytest.fixture
def orders(page, table):
    """Return three orders that the page shows."""
    from tests.shop.models import Order

    found = [Order.objects.create(number=f"n{n}", total=n) for n in range(3)]
    page.update()
    assert page.rows == table()
    return found
