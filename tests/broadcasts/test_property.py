"""
A page that applies what it receives shows the rows of the table, whatever the ORM did.

Random operations, also bulk ones, in random transactions of which some are rolled back.
"""

import os

import pytest
from django.db import IntegrityError, transaction
from django.db.models import F, Value
from django.db.models.functions import Mod
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eric_sse_django.broadcasts import batch
from eric_sse_django.broadcasts import queryset as querysets
from eric_sse_django.database import DatabaseChannel
from tests import databases
from tests.broadcasts.conftest import FIELDS
from tests.broadcasts.page import Page
from tests.shop.models import Cheap, Customer, Line, Order

# Where the usual number is few: ERIC_SSE_TEST_FUZZ=10000.
EXAMPLES = int(os.environ.get("ERIC_SSE_TEST_FUZZ") or 40)
# Rows of one operation that are published one by one, here.
FEW_ROWS = 4

numbers = st.integers(0, 5)
some = st.lists(st.integers(0, 9), max_size=5)


def named(names):
    return [Order(number=f"n{name}", total=name) for name in dict.fromkeys(names)]


def matching(rest):
    """Return a queryset of about a third of the orders."""
    return Order.objects.annotate(rest=Mod("total", Value(3))).filter(rest=rest % 3)


def create(number, _):
    Order.objects.create(number=f"n{number}", total=str(number))


def change(number, names):
    order = Order.objects.order_by("pk").filter(total__gte=number).first()
    if order is not None:
        Order.objects.filter(pk=order.pk).update(is_open=False)  # the object is stale now
        order.total = F("total") + number
        order.is_open = True
        order.save(update_fields=["total"] if names else None)


def update(number, _):
    matching(number).update(total=F("total") + 1, is_open=False)


def update_sorted(number, _):
    Cheap.objects.order_by("-total").filter(total__gt=number).update(total=number)


def bulk_create(_, names):
    Order.objects.bulk_create(named(names))


def ignore(_, names):
    Order.objects.bulk_create(named(names), ignore_conflicts=True)


def bulk_update(number, _):
    orders = list(Order.objects.filter(total__gte=number))
    for order in orders:
        order.total += number
    Order.objects.bulk_update(orders, ["total"], batch_size=2)


def delete(number, _):
    matching(number).delete()


def delete_one(number, _):
    for order in Order.objects.filter(number=f"n{number}"):
        order.delete()


def upsert(number, _):
    Order.objects.update_or_create(number=f"n{number}", defaults={"total": number + 1})


def give(number, _):
    customer = Customer.objects.create(name=f"c{number}")
    customer.orders.set(matching(number))
    for line in Line.objects.order_by("pk")[:number]:
        line.customer = customer
        line.save()
    customer.lines.create(text="new")


def take(number, _):
    Customer.objects.order_by("pk")[number % 3 : number % 3 + 1].get().delete()


def move_lines(number, _):
    to = Customer.objects.order_by("-pk").first()
    keys = Line.objects.order_by("pk").values_list("pk", flat=True)[number:]
    Line.objects.filter(pk__in=list(keys)).update(customer=to)


def bulk_lines(number, names):
    customers = [None, *Customer.objects.order_by("pk")[:3]]
    made = [Line(text=str(name), customer=customers[name % len(customers)]) for name in names]
    Line.objects.bulk_create(made)


ALL = [create, change, update, update_sorted, bulk_create, ignore, bulk_update, delete]
ALL += [delete_one, upsert, give, take, move_lines, bulk_lines]
operations = st.tuples(
    st.sampled_from(ALL),
    numbers,
    some,
)
# One of four transactions is rolled back.
transactions = st.lists(
    st.tuples(st.lists(operations, min_size=1, max_size=4), st.sampled_from([False] * 3 + [True])),
    min_size=3,
    max_size=8,
)


class Undone(Exception):
    """Rolls a transaction back."""


def run(using, found, is_undone):
    try:
        with transaction.atomic(using=using):
            for operation, number, names in found:
                try:
                    with transaction.atomic(using=using):
                        operation(number, names)
                except (IntegrityError, Customer.DoesNotExist):
                    pass
            if is_undone:
                raise Undone
    except Undone:
        pass


def lines_of(key):
    return list(Line.objects.filter(customer=key).values("id", "text", "customer_id"))


def begin():
    """Put the same rows in the tables."""
    for model in (Line, Order, Customer):
        model.objects.all().delete()
    customers = [Customer.objects.create(name=f"c{n}") for n in range(2)]
    Order.objects.bulk_create(named(range(3)))
    Line.objects.bulk_create(Line(text=f"l{n}", customer=customers[n % 2]) for n in range(4))


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(found=transactions)
def check(using, found):
    begin()
    page = Page("orders", "order", lambda: list(Order.objects.values(*FIELDS)))
    page.update()
    customers = {
        key: Page(f"customer-{key}", "line", lambda key=key: lines_of(key))
        for key in Customer.objects.values_list("pk", flat=True)
    }
    for operations, is_undone in found:
        run(using, operations, is_undone)
        page.update()
        assert page.rows == {row["id"]: row for row in Order.objects.values(*FIELDS)}
        for key in Customer.objects.values_list("pk", flat=True):
            # It begins without rows: all that it shows it has received.
            customers.setdefault(key, Page(f"customer-{key}", "line", list))
        for key, known in customers.items():
            known.update()
            assert known.rows == {row["id"]: row for row in lines_of(key)}


@pytest.mark.timeout(max(180, 2 * EXAMPLES))
def test_a_page_that_applies_what_it_receives_equals_the_table(database, monkeypatch):
    if databases.USERS is not None:
        pytest.skip("the models are in another database than the log")
    monkeypatch.setattr(batch, "MAX_ROWS", FEW_ROWS)
    monkeypatch.setattr(querysets, "MAX_ROWS", FEW_ROWS)
    DatabaseChannel.create("orders")
    check(database)
