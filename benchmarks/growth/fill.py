"""Rows by the million, made by the database itself."""

from __future__ import annotations

from django.db import connection, transaction

from benchmarks.growth.sizes import Size
from eric_sse_django.models import Channel, Listener, LogHead, QueuedMessage

# The channel that is measured has half of the rows and all listeners.
MEASURED = "orders"
OTHERS = 9
# One row in ten is for one listener, one for an owner; one listener in ten has an owner.
EVERY = 10
PAYLOAD_BYTES = 200


def prepare() -> None:
    """Make the channels, in a new database."""
    Channel.objects.create(name=MEASURED)
    Channel.objects.bulk_create(Channel(name=f"other-{number}") for number in range(OTHERS))


def grow(before: Size, after: Size, expired: int) -> None:
    """
    Fill what is missing from `before` to `after`, in the channels of prepare().

    The first `expired` rows of all are past their retention.
    """
    with transaction.atomic():
        _listeners(before.listeners, after.listeners)
        _messages(before.rows, after.rows, max(1, after.listeners), expired)
    settle()


def settle() -> None:
    """Do what autovacuum would have done by the time that so much was written."""
    with connection.cursor() as cursor:
        for model in (QueuedMessage, Listener, Channel, LogHead):
            cursor.execute(f"VACUUM ANALYZE {model._meta.db_table}")


def _listeners(first: int, last: int) -> None:
    """Make listeners who are away: they have been served nothing."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO auth_user (id, username, password, first_name, last_name, email,"
            " is_superuser, is_staff, is_active, date_joined)"
            " SELECT n, 'user-' || n, '', '', '', '', false, false, true, now()"
            " FROM generate_series(%s::int, %s::int) AS n",
            [first // EVERY + 1, last // EVERY],
        )
        cursor.execute(
            f"INSERT INTO {Listener._meta.db_table} (channel_id, name, owner_id, running,"
            " start, cursor, floor, created_at) SELECT %s, 'away-' || n,"
            f" CASE WHEN n %% {EVERY} = 0 THEN n / {EVERY} END, true, 0, 0, 0, now()"
            " FROM generate_series(%s::int, %s::int) AS n",
            [Channel.objects.get(name=MEASURED).pk, first + 1, last],
        )


def _messages(first: int, last: int, listeners: int, expired: int) -> None:
    head = LogHead.objects.get_or_create(pk=LogHead.THE_ONE)[0]
    measured = Channel.objects.get(name=MEASURED).pk
    others = list(Channel.objects.exclude(pk=measured).values_list("pk", flat=True))
    lowest = Listener.objects.order_by("pk").values_list("pk", flat=True).first() or 0
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {QueuedMessage._meta.db_table} (position, channel_id, listener_id,"
            " owner_id, type, payload, created_at, expires_at)"
            " SELECT %(head)s + n - %(first)s, CASE WHEN hers THEN %(measured)s"
            " ELSE (%(others)s)[1 + n %% array_length(%(others)s, 1)] END,"
            f" CASE WHEN hers AND n %% {EVERY} = 1 THEN %(lowest)s + n / 20 %% %(listeners)s END,"
            f" CASE WHEN n %% {EVERY} = 2 THEN 1 + n / 20 %% (1 + %(listeners)s / {EVERY}) END,"
            " 'paid', '\"' || rpad(n::text, %(bytes)s - 2, 'x') || '\"',"
            # 50 ms apart; what is past its retention is so since a day.
            " now() - interval '6 days' + n * interval '50 ms', now() + n * interval '50 ms'"
            " + CASE WHEN n <= %(expired)s THEN interval '-8 days' ELSE interval '1 day' END"
            " FROM (SELECT n, n / 10 %% 2 = 0 AS hers"
            " FROM generate_series(%(first)s::int + 1, %(last)s::int) AS n) AS numbered",
            {
                "head": head.position,
                "first": first,
                "last": last,
                "measured": measured,
                "others": others,
                "lowest": lowest,
                "listeners": listeners,
                "expired": expired,
                "bytes": PAYLOAD_BYTES,
            },
        )
    LogHead.objects.update(position=head.position + last - first)


def bytes_per_row() -> dict[str, float]:
    """Return what a row takes in the table, and in each of its indexes."""
    table = QueuedMessage._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*), pg_table_size(%s) FROM {table}", [table])
        rows, heap = cursor.fetchone()
        cursor.execute(
            "SELECT indexrelid::regclass::text, pg_relation_size(indexrelid)"
            " FROM pg_index WHERE indrelid = %s::regclass",
            [table],
        )
        sizes = {"table": heap, **dict(cursor.fetchall())}
    return {name: size / max(1, rows) for name, size in sizes.items()}
