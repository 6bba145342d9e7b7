"""Each ORM operation of a model with broadcasts: what is published, and that it is all."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
from asgiref.sync import sync_to_async
from django.apps import apps
from django.core import serializers
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, connections, transaction
from django.db.migrations.state import ModelState
from django.db.models import F, Q
from django.test.utils import CaptureQueriesContext

from eric_sse_django.broadcasts import Broadcast, broadcasts, publish_changed, registry
from eric_sse_django.broadcasts import batch as batches
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.exception import InvalidChannelException, NoMessagesException
from eric_sse_django.shortcuts import listen
from tests.broadcasts.page import Page
from tests.databases import rolled_back, sqlite_only
from tests.router import SelectedDatabaseRouter
from tests.shop.models import Cheap, Customer, Line, Order


def test_create_change_and_delete_are_published(page, table, database):
    order = Order.objects.create(number="a")
    assert page.update() == ["order-created"]
    order.total = 3
    order.save()
    assert page.update() == ["order-changed"]
    assert page.rows == table() == {order.pk: page.rows[order.pk]}
    order.delete()
    assert page.update() == ["order-deleted"]
    assert page.rows == {}


def bulk_update(orders):
    for order in orders:
        order.total += 10
    Order.objects.bulk_update(orders, ["total"])


def upsert(orders):
    new = [Order(number="n0", total=70), Order(number="new", total=71)]
    Order.objects.bulk_create(
        new, update_conflicts=True, update_fields=["total"], unique_fields=unique_fields()
    )


def unique_fields():
    features = connections[SelectedDatabaseRouter.alias].features
    return ["number"] if features.supports_update_conflicts_with_target else None


def stale(orders):
    one, same = Order.objects.get(pk=orders[0].pk), Order.objects.get(pk=orders[0].pk)
    one.total = 50
    one.save()
    same.is_open = False
    same.save(update_fields=["is_open"])


def through_a_relation(orders):
    customer = Customer.objects.create(name="c")
    customer.orders.set(orders[:2])
    customer.orders.add(orders[2])
    customer.orders.remove(orders[0])
    customer.orders.all().update(total=9)
    customer.orders.create(number="of a relation")


def set_null(orders):
    customer = Customer.objects.create(name="c")
    customer.orders.set(orders)
    customer.delete()


def load_data(orders):
    text = serializers.serialize("json", orders)
    Order.objects.filter(number="n2").delete()
    for each in serializers.deserialize("json", text):
        each.save()


OPERATIONS = {
    "update": lambda orders: Order.objects.update(total=5),
    "update some": lambda orders: Order.objects.filter(total__lt=2).update(total=F("total") + 1),
    "update with or": lambda orders: Order.objects.filter(Q(total=0) | Q(total=2)).update(total=7),
    "own queryset": lambda orders: Order.objects.open().update(is_open=False),
    "bulk_create": lambda orders: Order.objects.bulk_create(
        [Order(number="x"), Order(number="y")]
    ),
    "ignore_conflicts": lambda orders: Order.objects.bulk_create(
        [Order(number="n0"), Order(number="y")], ignore_conflicts=True
    ),
    "update_conflicts": upsert,
    "bulk_update": bulk_update,
    "delete()": lambda orders: Order.objects.filter(total__gt=0).delete(),
    "delete one": lambda orders: orders[1].delete(),
    "expression": lambda orders: orders[1].add(100),
    "a stale object": stale,
    "a string for a number": lambda orders: Order.objects.create(number=5, total="6"),
    "get_or_create": lambda orders: Order.objects.get_or_create(number="new"),
    "update_or_create": lambda orders: Order.objects.update_or_create(
        number="n1", defaults={"total": 8}
    ),
    "a relation": through_a_relation,
    "SET_NULL": set_null,
    "a proxy": lambda orders: Cheap.objects.create(number="proxy"),
    "a proxy's update": lambda orders: Cheap.objects.update(total=1),
    "a proxy's delete": lambda orders: Cheap.objects.get(number="n1").delete(),
    "the base manager": lambda orders: Order._base_manager.update(total=3),
    "values": lambda orders: Order.objects.order_by("-total").values("total").update(total=4),
    "the key": lambda orders: Order.objects.filter(pk=orders[0].pk).update(id=F("id") + 1_000),
    "loaddata": load_data,
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_after_each_operation_the_page_equals_the_table(name, page, table, orders, database):
    OPERATIONS[name](orders)
    assert page.update() != []
    assert page.rows == table()


def test_a_bulk_operation_is_one_insert(page, orders, database):
    with CaptureQueriesContext(connections[database]) as queries:
        Order.objects.update(total=5)
    inserts = [each for each in queries if "INSERT INTO" in each["sql"].upper()]
    assert len(inserts) == 1
    assert page.update() == ["order-changed"] * 3


def test_what_is_rolled_back_is_not_published(page, orders, database):
    with transaction.atomic(using=database):
        Order.objects.update(total=5)
        orders[0].delete()
        transaction.set_rollback(True, using=database)
    assert page.update() == []


def test_a_failed_change_in_a_savepoint_leaves_the_transaction_usable(
    page, table, orders, database
):
    with transaction.atomic(using=database):
        with pytest.raises(IntegrityError), transaction.atomic(using=database):
            Order.objects.create(number="n0")
        Order.objects.create(number="y")
    assert page.update() == ["order-created"]
    assert page.rows == table()


def test_a_change_that_cannot_be_published_is_not_made(page, orders, database):
    DatabaseChannel.load("orders").row.delete()
    with pytest.raises(InvalidChannelException):
        Order.objects.update(total=5)
    with pytest.raises(InvalidChannelException):
        Order.objects.create(number="x")
    assert sorted(Order.objects.values_list("total", flat=True)) == [0, 1, 2]


def test_many_rows_are_one_message(page, table, database, monkeypatch):
    monkeypatch.setattr(batches, "MAX_ROWS", 10)
    monkeypatch.setattr("eric_sse_django.broadcasts.queryset.MAX_ROWS", 10)
    Order.objects.bulk_create([Order(number=f"n{n}") for n in range(11)])
    assert page.update() == ["order-reload"]
    Order.objects.update(total=1)
    assert page.update() == ["order-reload"]
    Order.objects.all().delete()
    assert page.update() == ["order-reload"]
    assert page.rows == table() == {}


def test_a_page_loads_rows_again_after_a_message_that_came_between(
    page, table, database, monkeypatch
):
    monkeypatch.setattr(batches, "MAX_ROWS", 10)
    monkeypatch.setattr("eric_sse_django.broadcasts.queryset.MAX_ROWS", 10)
    with transaction.atomic(using=database):
        first, *_ = Order.objects.bulk_create([Order(number=f"n{n}") for n in range(11)])
        Order.objects.update(total=1)
        Order.objects.filter(pk=first.pk).update(total=2)  # older than what pages will load
        Order.objects.update(total=3)
        Order.objects.update(total=4)
    assert page.update() == ["order-reload", "order-changed", "order-reload"]
    assert page.rows == table()


def test_raw_sql_is_published_by_publish_changed(page, table, orders, database):
    with connections[database].cursor() as cursor:
        cursor.execute("UPDATE shop_order SET total = 77")
        cursor.execute("DELETE FROM shop_order WHERE number = 'n2'")
    publish_changed(*orders)
    assert page.update() == ["order-changed", "order-changed", "order-deleted"]
    assert page.rows == table()


def test_two_writers_of_the_same_rows_agree_with_the_page(page, table, orders, database):
    def write(amount):
        try:
            for _ in range(5):
                Order.objects.filter(total__gte=0).update(total=F("total") + amount)
                order = Order.objects.get(number="n1")
                order.is_open = not order.is_open
                order.save(update_fields=["is_open"])
        finally:
            connections.close_all()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, (1, 10, 100)))
    page.update()
    assert page.rows == table()
    assert page.rows[orders[0].pk]["total"] == 555


# Where a row decides who gets it ------------------------------------------------------


@pytest.fixture
def pages(channel, database):
    customers = [Customer.objects.create(name=f"c{n}") for n in range(2)]

    def page(customer):
        rows = Line.objects.filter(customer=customer)
        name = f"customer-{customer.pk}"
        return Page(name, "line", lambda: list(rows.values("id", "text", "customer_id")))

    return [(each, page(each)) for each in customers]


def check(pages):
    for customer, page in pages:
        page.update()
        rows = Line.objects.filter(customer=customer).values("id", "text", "customer_id")
        assert page.rows == {row["id"]: row for row in rows}
        assert "line-reload" not in page.received


def test_a_row_that_moves_leaves_the_page_where_it_was(pages, database):
    (one, page), (other, page_of_other) = pages
    line = Line.objects.create(text="a", customer=one)
    check(pages)
    line.customer = other
    line.save()
    check(pages)
    assert page.received == ["line-created", "line-deleted"]
    assert page_of_other.received == ["line-created"]
    line.customer = None
    line.save(update_fields=["customer"])
    check(pages)
    Line.objects.update(customer=one)
    check(pages)
    Line.objects.bulk_create([Line(text="b", customer=other), Line(text="c")])
    Line.objects.filter(text="b").update(customer=one)
    check(pages)
    Line.objects.get(text="a").delete()
    check(pages)
    Line.objects.all().delete()
    check(pages)


def test_rows_of_a_cascade_are_published(pages, database):
    (one, page), _ = pages
    Line.objects.create(text="a", customer=one)
    one.delete()
    page.update()
    assert page.rows == {}


def test_what_cannot_be_seen_raises(pages, database):
    with pytest.raises(ImproperlyConfigured, match="which rows it changed"):
        Line.objects.bulk_create([Line(text="a")], ignore_conflicts=True)
    with pytest.raises(ImproperlyConfigured, match="which rows it changed"):
        Line.objects.update(id=F("id") + 1)
    assert Line.objects.count() == 0


@sqlite_only
def test_a_model_of_several_tables_is_refused(channel, database):
    with pytest.raises(ImproperlyConfigured, match="several tables"):

        @broadcasts("orders")
        class Child(Customer):
            class Meta:
                app_label = "shop"

    with pytest.raises(ImproperlyConfigured, match="derived from a model with broadcasts"):

        class Grandchild(Order):
            class Meta:
                app_label = "shop"

    for name in ("child", "grandchild"):
        apps.all_models["shop"].pop(name, None)
    apps.clear_cache()


@sqlite_only
def test_querysets_and_managers_keep_their_names(channel, database):
    assert type(Order.objects.all()).__name__ == "OrderQuerySet"
    assert Order._default_manager.name == "objects"
    copied = pickle.loads(pickle.dumps(Order.objects.filter(total=1)))
    assert type(copied) is type(Order.objects.all())
    assert list(copied) == []
    assert Order.objects.deconstruct()[:3] == (True, None, "tests.shop.models.OrderQuerySet")


@sqlite_only
async def test_coroutines_publish_too(page, database):
    order = await Order.objects.acreate(number="a")
    await Order.objects.aupdate(total=5)
    await order.adelete()
    assert await sync_to_async(page.update)() == [
        "order-created",
        "order-changed",
        "order-deleted",
    ]


def test_publishing_leaves_the_migrations_of_a_model_with_djangos_manager_alone():
    assert ModelState.from_model(Line).managers == []


@sqlite_only
def test_one_kind_of_content_is_given(channel, database):
    with pytest.raises(ImproperlyConfigured, match="one of"):
        Broadcast("orders", fields=["a"], template="a.html")
    with pytest.raises(ImproperlyConfigured, match="target"):
        Broadcast("orders", template="a.html")


# What is published --------------------------------------------------------------------


@pytest.fixture
def declare(monkeypatch):
    """Return a function that makes orders publish by other declarations."""

    def declare(*declared):
        monkeypatch.setitem(registry._watched, Order, list(declared))

    return declare


@rolled_back
def test_html_needs_a_channel_that_sends_text(channel, declare, database):
    DatabaseChannel.create("of-json")
    declare(Broadcast("of-json", template="shop/row.html", target="rows", library="turbo"))
    with pytest.raises(ValueError, match="format text"), transaction.atomic(using=database):
        Order.objects.create(number="a")
    assert not Order.objects.exists()


@sqlite_only
def test_refreshes_of_a_transaction_are_one_message(channel, declare, database):
    declare(Broadcast("orders", refresh=True))
    page = Page("orders", "order", list)
    with transaction.atomic():
        first = Order.objects.create(number="a")
        first.save()
        Order.objects.update(total=7)
    assert page.update() == ["order-reload"]
    with transaction.atomic():
        with transaction.atomic():
            Order.objects.all().delete()
            transaction.set_rollback(True)
        Order.objects.update(total=8)
    assert page.update() == ["order-reload"]
    first.delete()
    assert page.update() == ["order-reload"]


@sqlite_only
def test_messages_for_an_owner_are_for_that_owner_only(channel, declare, django_user_model):
    ada = django_user_model.objects.create(username="ada")
    names = {"n0": ada, "n1": None}
    declare(Broadcast("orders", owner=lambda order: names.get(order.number)))
    listener, other = listen("orders", ada), listen("orders", listener_id="other")
    Order.objects.bulk_create([Order(number="n0"), Order(number="n1")])
    assert channel.deliver_next(listener.id).type == "order-created"
    for each in (listener, other):
        with pytest.raises(NoMessagesException):
            channel.deliver_next(each.id)
