"""Broadcasts where an operation fails half way, or has many rows, or keys that are not numbers."""

import pytest
from django.db import connections, transaction
from django.db.models.signals import post_save
from django.test.utils import CaptureQueriesContext

from eric_sse_django.broadcasts import Broadcast, publish_changed, registry
from eric_sse_django.broadcasts.declaration import Recipient
from eric_sse_django.database import DatabaseChannel
from tests.broadcasts.test_operations import load_data, upsert
from tests.databases import sqlite_only
from tests.shop.models import Customer, Line, Order

FEW = 20  # queries of an operation of any number of rows, below READ_ROWS


class Refused(Exception):
    """Raised by another receiver of post_save."""


@pytest.fixture
def refusing():
    def refuse(sender, instance, **_):
        raise Refused

    post_save.connect(refuse, sender=Order)
    yield
    post_save.disconnect(refuse, sender=Order)


def test_a_change_that_stays_after_an_error_is_published(page, orders, table, refusing, database):
    with transaction.atomic(using=database):
        orders[0].total = 50
        with pytest.raises(Refused):
            orders[0].save()
    page.update()
    assert table()[orders[0].pk]["total"] == 50
    assert page.rows == table()


def test_a_change_that_is_rolled_back_after_an_error_is_not_published(
    page, orders, refusing, database
):
    with transaction.atomic(using=database):
        with pytest.raises(Refused), transaction.atomic(using=database):
            orders[0].save()
        with pytest.raises(Refused):
            Order.objects.create(number="a")
    assert page.update() == ["order-created"]


def test_a_change_that_failed_and_cannot_be_published_is_rolled_back(
    page, orders, table, refusing, database
):
    before = table()
    DatabaseChannel.load("orders").row.delete()

    def change():
        with transaction.atomic(using=database):
            with pytest.raises(Refused):
                Order.objects.create(number="a")
            Order.objects.count()

    with pytest.raises(transaction.TransactionManagementError):
        change()
    assert table() == before


def test_an_object_whose_key_is_a_string_is_published(page, table, database):
    Order.objects.create(pk="70", number="a")
    Order.objects.bulk_create([Order(pk="71", number="b")])
    assert page.update() == ["order-created"] * 2
    order = Order(pk="70", number="c")
    order.save()
    publish_changed(order)
    assert page.update() == ["order-changed"] * 2
    assert page.rows == table()
    order.delete()
    assert page.update() == ["order-deleted"]
    assert page.rows == table()


def test_the_rows_of_a_fixture_are_one_message(page, orders, table, database):
    with transaction.atomic(using=database):
        load_data(orders)
        assert page.update() == []
    assert page.update() == ["order-deleted", "order-reload"]
    assert page.rows == table()


def test_a_row_that_an_upsert_found_is_not_published_as_new(page, orders, database):
    upsert(orders)
    assert page.update() == ["order-reload"]


def test_many_rows_of_one_channel_take_few_queries(channel, database):
    customer = Customer.objects.create(name="c")
    with CaptureQueriesContext(connections[database]) as queries:
        Line.objects.bulk_create([Line(text="a", customer=customer) for _ in range(100)])
        Line.objects.update(text="b")
        Line.objects.filter(text="b").delete()
    assert len(queries) < 3 * FEW


@sqlite_only
def test_a_row_without_a_key_is_not_published(page, orders, database):
    orders[0].delete()
    page.update()
    with pytest.raises(ValueError, match="has no key"):
        publish_changed(*orders)
    assert page.update() == []


@sqlite_only
def test_a_row_whose_path_to_an_owner_ends_early_has_none(page, monkeypatch, database):
    declared = Broadcast("orders", owner="customer.name")
    monkeypatch.setitem(registry._watched, Order, [declared])
    order = Order.objects.create(number="a")
    assert page.update() == []
    order.customer = Customer(name="7")
    assert declared.recipients(order) == (Recipient("orders", 7),)
