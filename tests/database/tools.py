"""What these tests do to the database: transactions, threads, reading the log."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connections, transaction
from django.db.transaction import Atomic
from django.utils import timezone

from eric_sse_django import log
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.entry import Entry
from eric_sse_django.models import Listener

# Seconds that a test waits for another thread.
PATIENCE_S = 20.0


def atomic() -> Atomic:
    """Return a transaction on the database that the test uses."""
    return transaction.atomic(using=log.database())


def roll_back(function: Callable[[], Any]) -> None:
    """Call function() in a transaction that is rolled back."""
    with atomic():
        function()
        transaction.set_rollback(True, using=log.database())


def numbers(most: int) -> str:
    """Return the SQL that selects the numbers from 1 to `most` as n."""
    return {
        "sqlite": "WITH RECURSIVE numbers(n) AS"
        f" (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {most}) SELECT n FROM numbers",
        "postgresql": f"SELECT n FROM generate_series(1, {most}) AS n",
        "mysql": f"SELECT seq AS n FROM seq_1_to_{most}",
    }[connections[log.database()].vendor]


def add_listeners(channel: DatabaseChannel, count: int) -> None:
    """Add listeners "1", "2", … to the channel by one statement."""
    connection = connections[log.database()]
    names = ("channel_id", "name", "running", "start", "cursor", "floor", "created_at")
    table, *columns = map(connection.ops.quote_name, (Listener._meta.db_table, *names))
    text = "CHAR(20)" if connection.vendor == "mysql" else "VARCHAR(20)"
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(columns)})"
            f" SELECT %s, CAST(n AS {text}), %s, 0, 0, 0, %s FROM ({numbers(count)}) AS numbered",
            [channel.row.pk, True, timezone.now()],
        )


def entries(after: int = 0) -> list[Entry]:
    """Return all entries of the log after a position, of whatever history."""
    dialect = log.log_dialect()
    with dialect.connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {dialect.columns()} FROM {dialect.log} WHERE position > %s ORDER BY position",
            [after],
        )
        return dialect.entries(cursor.fetchall())


def payloads(after: int = 0) -> list[Any]:
    """Return the payloads of all entries after a position."""
    return [json.loads(entry.payload) for entry in entries(after)]


class Threads:
    """Starts functions on threads; see threads()."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self._executor = executor
        self._begun: list[Future[Any]] = []

    def start(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """Run function(*args) on a thread; its connections are closed after it."""

        def run() -> Any:
            try:
                return function(*args)
            finally:
                connections.close_all()

        self._begun.append(self._executor.submit(run))
        return self._begun[-1]

    def join(self) -> list[Any]:
        """Wait for all that was started; return what they returned, or raise what one raised."""
        return [future.result(PATIENCE_S) for future in self._begun]


@contextmanager
def threads() -> Iterator[Threads]:
    """Give a Threads; wait at the end for all that was started there."""
    with ThreadPoolExecutor(16) as executor:
        started = Threads(executor)
        yield started
        started.join()


def keys_of_a_world() -> tuple[Any, ...]:
    """Create what tests.log_contract.World has beside its log; return the keys in its order."""
    channel, other = (DatabaseChannel.create(name) for name in ("orders", "bills"))
    users = get_user_model().objects
    ana, bob = (users.create(username=name) for name in ("ana", "bob"))
    phone, laptop, till = (channel.add_listener(owner).row.pk for owner in (ana, ana, None))
    return channel.row.pk, other.row.pk, phone, laptop, till, ana.pk, bob.pk
