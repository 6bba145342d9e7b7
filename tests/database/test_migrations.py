"""Migrations with rows in the tables, there and back; two versions on one schema."""

import copy
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

from eric_sse_django import log, notifier
from eric_sse_django.authorization import revoke
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.exception import NoMessagesException
from eric_sse_django.message import Message
from eric_sse_django.models import Channel, Listener
from tests.contract import count

APP = "eric_sse_django"
NAMES = sorted(name for app, name in MigrationLoader(None).graph.nodes if app == APP)
FIRST = NAMES[0]
MODELS = (
    *("Channel", "Listener", "QueuedMessage", "LogHead", "ServerProcess", "OpenStream"),
    *("ApiToken", "PublishReceipt"),
)


class Schema:
    """The app's tables, as a migration leaves them."""

    def __init__(self, alias: str) -> None:
        self.connection = connections[alias]

    def to(self, name: str | None) -> None:
        """
        Migrate to a migration, None for before the first; alone, without signals.

        To the last one with those of the apps that need it: the others take these back.
        """
        notifier.close()
        executor = MigrationExecutor(self.connection)
        leaves = executor.loader.graph.leaf_nodes()
        executor.migrate(leaves if name == NAMES[-1] else [(APP, name)])

    def models_of(self, name: str) -> Any:
        """Return the models as they were at a migration: `models_of(…).Channel`."""
        state = MigrationLoader(self.connection).project_state([(APP, name)])
        return Models(state.apps, self.connection.alias)

    def tables(self) -> set[str]:
        names = self.connection.introspection.table_names()
        return {name for name in names if name.startswith(APP)}


class Models:
    """The managers of the models; with managers of Django's own, which ask routers."""

    def __init__(self, apps: Any, alias: str) -> None:
        self.apps, self.alias = apps, alias

    def __getattr__(self, name: str) -> Any:
        return self.apps.get_model(APP, name).objects.using(self.alias)

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """Return all rows, with the columns that these models know."""
        return {name: list(getattr(self, name).order_by("pk").values()) for name in MODELS}


@pytest.fixture
def schema(database: str) -> Iterator[Schema]:
    """Return the Schema of the test's database; it is the newest again after the test."""
    schema = Schema(database)
    yield schema
    schema.to(NAMES[-1])


def fill(models: Models) -> None:
    """Write rows of every kind as the code of the first version does, by its models."""
    now = timezone.now()
    ada = User.objects.create(username="ada")
    orders = models.Channel.create(name="orders", retention_s=3_600)
    first = models.Listener.create(channel=orders, name="till-7", running=True, start=0)
    second = models.Listener.create(
        channel=orders, name="ada-1", owner_id=ada.pk, running=True, cursor=2, last_seen=now
    )
    for number, (position, listener, owner) in enumerate(
        [(1, None, None), (2, first, None), (3, None, ada), (None, None, None)]
    ):
        models.QueuedMessage.create(
            position=position,
            channel=orders,
            listener=listener,
            owner_id=owner and owner.pk,
            type="count",
            payload=str(number),
            sender="s" if number else None,
            expires_at=now + timedelta(hours=1),
        )
    models.LogHead.create(pk=1, position=3)
    server = models.ServerProcess.create(name="web", started_at=now, renewed_at=now)
    models.OpenStream.create(pk=1, process=server, listener=second, opened_at=now)
    models.ApiToken.create(user_id=ada.pk, name="till", digest="d" * 64)
    models.PublishReceipt.create(user_id=ada.pk, key="k", request="r", answer="{}")


def take_all(channel: DatabaseChannel, listener_id: str) -> list[Any]:
    """Return the payloads of all that waits for a listener."""
    taken = []
    while True:
        try:
            taken.append(channel.deliver_next(listener_id).payload)
        except NoMessagesException:
            return taken


def test_rows_survive_each_migration_forwards_and_backwards(schema):
    schema.to(FIRST)
    models = schema.models_of(FIRST)
    fill(models)
    before = models.rows()
    assert all(before.values())
    for name in [*NAMES, *reversed(NAMES)]:
        schema.to(name)
        assert models.rows() == before, name
    schema.to(None)
    assert schema.tables() == set()


def test_rows_of_the_first_version_are_served_by_this_one(schema):
    schema.to(FIRST)
    fill(schema.models_of(FIRST))
    schema.to(NAMES[-1])
    channel = DatabaseChannel.load("orders")
    channel.broadcast(count(4))
    assert take_all(channel, "till-7") == [0, 1, 3, 4]
    assert take_all(channel, "ada-1") == [2, 3, 4]


def test_the_first_version_can_read_what_this_one_wrote(schema):
    channel = DatabaseChannel.create("orders")
    listener = channel.add_listener(listener_id="till-7")
    listener.start()
    channel.broadcast(count(0))
    channel.broadcast(count(1), expires_in_s=60)
    revoke(listener=listener.row)
    Channel.objects.update(expires_in_s=60)
    Listener.objects.update(acknowledgement="client")
    assert notifier.flush()
    models = schema.models_of(FIRST)
    before = models.rows()
    for name in reversed(NAMES):
        schema.to(name)
        assert models.rows() == before, name
    payloads = models.QueuedMessage.filter(channel__name="orders").values_list("payload")
    assert [text for (text,) in payloads.order_by("position")] == ["0", "1"]


def foreign_keys_to_users(schema):
    """Return the tables of the app with a constraint on users, and all of their indexes."""
    found, indexes = set(), {}
    with schema.connection.cursor() as cursor:
        for table in schema.tables():
            constraints = schema.connection.introspection.get_constraints(cursor, table)
            for one in constraints.values():
                if one["foreign_key"] and one["foreign_key"][0] == User._meta.db_table:
                    found.add(table)
                elif one["index"] or one["unique"]:
                    indexes.setdefault(table, set()).add(tuple(one["columns"]))
    return found, indexes


def test_no_table_has_a_constraint_on_users_that_may_be_in_another_database(schema):
    assert foreign_keys_to_users(schema)[0] == set()


def test_the_constraints_that_the_first_versions_made_are_dropped(schema):
    _, indexes = foreign_keys_to_users(schema)
    before = NAMES[NAMES.index(next(name for name in NAMES if "users_elsewhere" in name)) - 1]
    schema.to(FIRST)
    models = schema.models_of(FIRST)
    fill(models)
    for name, key in (("Listener", "owner"), ("ApiToken", "user")):
        constrain(schema, getattr(models, name).model, key)
    assert len(foreign_keys_to_users(schema)[0]) == 2
    schema.to(before)
    rows = models.rows()
    schema.to(NAMES[-1])
    assert foreign_keys_to_users(schema) == (set(), indexes)
    assert models.rows() == rows
    ada = User.objects.get(username="ada")
    ada.delete()
    assert not Listener.objects.filter(name="ada-1").exists()


def constrain(schema, model, key):
    """Make the constraint of a foreign key, as the first versions' first migration did."""
    field = model._meta.get_field(key)
    constrained = copy.copy(field)
    constrained.db_constraint = True
    with schema.connection.schema_editor() as editor:
        editor.alter_field(model, field, constrained)


def test_this_version_serves_what_the_first_ones_models_write(schema):
    """As servers of the first version do after `migrate`, until they are restarted."""
    fill(schema.models_of(FIRST))
    channel = DatabaseChannel.load("orders")
    listener = Listener.objects.get(name="till-7")
    assert listener.acknowledgement == Listener.Acknowledgement.SENT
    assert not log.row(channel.row, Message("count")).perishable
    assert take_all(channel, "till-7") == [0, 1, 3]
