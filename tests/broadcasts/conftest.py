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
