"""The Python of docs/models.md, run from top to bottom."""

import json
import re
from pathlib import Path

import pytest
from django.apps import apps
from django.db import connection, models

from eric_sse_django import notifier
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.models import QueuedMessage
from eric_sse_django.shortcuts import listen
from tests import databases
from tests.databases import sqlite_only

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def namespace(database):
    """Return a namespace for modules of an app; its models are removed at the end."""
    if databases.USERS is not None:
        pytest.skip("the models are in another database than the log")
    yield {"__name__": "tests.shop.documented.models"}
    made = list(apps.all_models["documented"].values())
    apps.all_models["documented"].clear()
    apps.clear_cache()
    with connection.schema_editor() as editor:
        for model in reversed(made):
            editor.delete_model(model)


def run(block, namespace):
    known = set(namespace)
    exec(compile(block, PAGE.name, "exec"), namespace)
    for name in set(namespace) - known:
        made = namespace[name]
        if isinstance(made, type) and issubclass(made, models.Model):
            with connection.schema_editor() as editor:
                editor.create_model(made)


def published(channel):
    notifier.settle()
    found = QueuedMessage.objects.filter(channel__name=channel).order_by("position")
    return [(each.type, json.loads(each.payload)) for each in found]


@sqlite_only
def test_the_page_does_what_it_describes(namespace, django_user_model):
    DatabaseChannel.create("orders")
    DatabaseChannel.create("tickets")
    for block in BLOCKS:
        run(block, namespace)
    first, *others, last = published("orders")
    key = first[1]["id"]
    assert first == ("order-created", {"id": key, "number": "A-7", "total": 3})
    assert [type for type, _ in others] == (
        ["order-changed"] * 2 + ["order-created"] * 2 + ["order-deleted"] * 3
    )
    assert others[1][1]["total"] == 5
    assert last == ("order-deleted", {"id": key})
    order = namespace["order"]
    contents = [
        namespace[name].saved(order, True) for name in ("by_drf", "by_ninja", "by_function")
    ]
    assert [content.payload for [content] in contents] == [
        {"id": key, "number": "A-7", "total": 4},
        {"id": key, "number": "A-7"},
        {"id": key, "text": "A-7: 4"},
    ]
    namespace["Invoice"].objects.create(sum=7)
    assert published("orders")[-1][0] == "bill-created"
    check_tickets(namespace["Ticket"], django_user_model)


def check_tickets(model, users):
    ada, bob = (users.objects.create(username=name) for name in ("ada", "bob"))
    for_ada, for_bob = listen("tickets", ada), listen("tickets", bob)
    ticket = model.objects.create(author=ada)
    ticket.author = bob
    ticket.save()
    ticket.state = "draft"
    ticket.save()
    assert [type for type, _ in published(f"ticket-{ticket.pk}")] == [
        "ticket-created",
        "ticket-changed",
        "ticket-changed",
    ]
    channel = DatabaseChannel.load("tickets")
    for listener in (for_ada, for_bob):
        received = [channel.deliver_next(listener.id).type for _ in range(2)]
        assert received == ["ticket-created", "ticket-deleted"]
