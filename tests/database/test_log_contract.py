"""The log's contract, by the log in memory and by that in each database."""

import pytest
from django.db import connections

from eric_sse_django import log
from tests.database.tools import keys_of_a_world
from tests.log_contract import LogContract, World


class TestMemoryLog(LogContract):
    @pytest.fixture
    def world(self, settings):
        settings.ERIC_SSE = {}
        return World(log.MemoryLog(), 1, 2, phone=1, laptop=2, till=3, ana=1, bob=2)

    def test_a_new_one_is_above_what_an_earlier_one_gave(self, world):
        world.append(*range(10))
        again = log.MemoryLog()
        assert again.head().position > world.log.head().position
        [reset] = again.read([world.reader(world.till)], None, 10)
        assert reset.position == again.head().position


@pytest.mark.usefixtures("no_notifier")
class TestDatabaseLog(LogContract):
    @pytest.fixture
    def world(self, database, settings):
        settings.ERIC_SSE = {}
        return World(log.DATABASE, *keys_of_a_world())

    def on_a_thread(self, function, *args):
        try:
            return function(*args)
        finally:
            connections.close_all()
