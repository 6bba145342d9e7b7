"""The same random calls on eric-sse and on ours, in memory and in the database."""

import asyncio
import os

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as limits
from hypothesis.stateful import run_state_machine_as_test

from eric_sse_django.hub import Hub
from tests import databases
from tests.database.eric.machine import SameAsEric

# Runs, where the usual number is few: ERIC_SSE_TEST_FUZZ=10000.
RUNS = int(os.environ.get("ERIC_SSE_TEST_FUZZ") or 40)

pytestmark = databases.sqlite_only


class Loop:
    """Runs coroutines on one event loop, one after another."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()

    def run(self, coroutine):
        return self.loop.run_until_complete(coroutine)

    def close(self):
        self.run(Hub.close_all())
        self.run(self.loop.shutdown_asyncgens())
        self.run(self.loop.shutdown_default_executor())
        self.loop.close()


@pytest.fixture
def loop():
    loop = Loop()
    yield loop
    loop.close()


# The hub's and the notifier's threads draw their pauses while hypothesis checks `random`.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module")
@pytest.mark.timeout(max(180, 2 * RUNS))
def test_the_same_calls_do_the_same(database, loop):
    kind = type("Compared", (SameAsEric,), {"runner": loop})
    run_state_machine_as_test(
        kind,
        settings=limits(
            max_examples=RUNS,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
