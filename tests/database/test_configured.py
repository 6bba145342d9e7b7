"""Channels named in the settings are made by `migrate`, which changes none that is there."""

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import connections

from eric_sse_django import checks, log
from eric_sse_django.database import DatabaseChannel, rows
from eric_sse_django.exception import InvalidChannelException
from eric_sse_django.models import Channel
from eric_sse_django.outage import Quiet
from eric_sse_django.shortcuts import channel, listen, publish
from tests import databases

OPTIONS = {"access": "users", "format": "text", "retention_s": 600, "expires_in_s": 60}


def migrate(*arguments):
    call_command("migrate", *arguments, database=log.database(), verbosity=0)


def channels():
    return Channel.objects.order_by("name")


@pytest.mark.parametrize("named", [{"orders": OPTIONS, "news": {}}, ["orders", "news"]], ids=type)
def test_migrate_creates_them_once(database, settings, named):
    settings.ERIC_SSE = {"CHANNELS": named}
    assert checks.check_settings() == checks.check_channels() == []
    for _ in range(2):
        migrate()
        assert [row.name for row in channels()] == ["news", "orders"]
    if isinstance(named, dict):
        row = channels().get(name="orders")
        assert {name: getattr(row, name) for name in OPTIONS} == OPTIONS


def test_an_existing_channel_stays_and_a_difference_is_logged(database, settings, caplog):
    DatabaseChannel.create("orders", access="everyone", retention_s=600)
    settings.ERIC_SSE = {"CHANNELS": {"orders": OPTIONS}}
    migrate()
    row = channels().get()
    assert (row.access, row.format, row.retention_s) == ("everyone", "json", 600)
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert [text.split(":")[0] for text in warnings] == [
        "the channel 'orders' has access='everyone', and ERIC_SSE['CHANNELS'] has 'users'",
        "the channel 'orders' has format='json', and ERIC_SSE['CHANNELS'] has 'text'",
        "the channel 'orders' has expires_in_s=None, and ERIC_SSE['CHANNELS'] has 60",
    ]


def test_a_database_that_is_not_the_logs_gets_none(database, settings, monkeypatch):
    settings.ERIC_SSE = {"CHANNELS": ["orders"]}
    using = log.database()
    monkeypatch.setattr(log, "database", lambda: "another")
    call_command("migrate", database=using, verbosity=0)
    monkeypatch.undo()
    assert not channels().exists()


@databases.sqlite_only
def test_they_are_created_with_the_models_of_the_applied_migrations(database, settings):
    settings.ERIC_SSE = {"CHANNELS": {"orders": OPTIONS}}
    try:
        for target in ("0001", "zero", "0001"):
            migrate("eric_sse_django", target)
    finally:
        migrate()
    with connections[database].cursor() as cursor:
        cursor.execute("SELECT name, format FROM eric_sse_django_channel")
        assert cursor.fetchall() == [("orders", "text")]


def test_before_that_the_error_names_the_command(database, settings):
    settings.ERIC_SSE = {"CHANNELS": ["orders"]}
    for use in (lambda: publish("orders", "paid"), lambda: listen("orders")):
        with pytest.raises(InvalidChannelException, match="migrate` to create it"):
            use()
    with pytest.raises(InvalidChannelException, match="name it in ERIC_SSE"):
        publish("news", "paid")


@pytest.mark.parametrize(
    ("named", "id"),
    [
        ("orders", "E003"),
        ([7], "E003"),
        ({"orders": None}, "E003"),
        (["a/b"], "E021"),
        ({"orders": {"acces": "users"}}, "E021"),
        ({"orders": {"access": "nobody"}}, "E021"),
        ({"orders": {"retention_s": 1}}, "E021"),
        ({"orders": {"retention_s": "x"}}, "E021"),
        ({"orders": {"retention_s": float("inf")}}, "E021"),
        ({"orders": {"expires_in_s": True}}, "E021"),
    ],
)
@databases.sqlite_rolled_back
def test_invalid_channels_are_an_error_of_check(database, settings, named, id):
    settings.ERIC_SSE = {"CHANNELS": named}
    [error] = list(checks.check_settings()) + list(checks.check_channels())
    assert error.id == f"eric_sse_django.{id}"
    migrate()
    assert not channels().exists()


@databases.sqlite_rolled_back
def test_the_options_are_the_same_everywhere(database):
    for name, make in {"a": channel, "b": DatabaseChannel.create}.items():
        row = make(name, **OPTIONS).row
        assert {option: getattr(row, option) for option in OPTIONS} == OPTIONS
    with pytest.raises(ValidationError):
        DatabaseChannel.create("c", access="nobody")


@databases.sqlite_rolled_back
def test_an_option_that_a_channel_has_otherwise_is_logged_once(database, caplog, monkeypatch):
    monkeypatch.setattr(rows, "_differs", Quiet())
    channel("orders")
    for _ in range(3):
        assert channel("orders", format="text", access="ticket").row.format == "json"
    [record] = caplog.records
    assert record.message.startswith(
        "the channel 'orders' has format='json' and was not changed to 'text'"
    )


@databases.sqlite_only
def test_a_database_that_was_emptied_has_them_again(database, settings):
    settings.ERIC_SSE = {"CHANNELS": ["orders"]}
    call_command("flush", database=database, interactive=False, verbosity=0)
    assert [row.name for row in channels()] == ["orders"]
