"""The cursor that publishing keeps on PostgreSQL."""

import threading

import pytest
from django.core.exceptions import SynchronousOnlyOperation
from django.db import DatabaseError, connections
from django.test.utils import CaptureQueriesContext

from eric_sse_django.log import log_dialect
from eric_sse_django.models import QueuedMessage
from eric_sse_django.shortcuts import publish
from tests import databases


def writer():
    with log_dialect().writer() as cursor:
        return cursor


@databases.on("postgres")
class TestKeptCursors:
    def test_a_connection_keeps_one(self, database):
        assert writer() is writer()

    def test_a_new_connection_has_a_new_one(self, database, channel):
        kept = writer()
        connections[database].close()
        publish("orders", "x")
        assert writer() is not kept

    def test_it_works_after_an_error(self, database, channel):
        with pytest.raises(DatabaseError), log_dialect().writer() as cursor:
            cursor.execute("SELECT nothing")
        publish("orders", "x")
        assert QueuedMessage.objects.count() == 1

    def test_logged_queries_have_another(self, database, channel):
        kept = writer()
        with CaptureQueriesContext(connections[database]) as queries:
            publish("orders", "x")
            assert writer() is not kept
        assert any("INSERT" in query["sql"] for query in queries)

    def test_where_cursor_is_replaced_that_is_asked(self, database, channel, monkeypatch):
        """As django-debug-toolbar does, and Django's tests that may not query."""
        kept, connection, asked = writer(), connections[database], []

        def cursor(*args):
            asked.append(args)
            return type(connection).cursor(connection)

        monkeypatch.setattr(connection, "cursor", cursor)
        publish("orders", "x")
        assert asked
        assert writer() is not kept

    def test_no_other_thread_may_use_it(self, database):
        dialect, errors = log_dialect(), []
        writer()

        def use():
            try:
                dialect.writer()
            except DatabaseError as error:
                errors.append(error)

        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
        assert len(errors) == 1

    async def test_it_is_not_for_a_running_loop(self, database):
        with pytest.raises(SynchronousOnlyOperation):
            log_dialect().writer()
