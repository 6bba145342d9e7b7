"""
Reading the log: for hubs its end, and for listeners what is addressed to them, in pages.

History and live messages are read alike. SQL text is built once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from operator import itemgetter
from typing import Any

from django.db import connections
from django.db.models import Min

from eric_sse_django.entry import CONTROLS, Entry
from eric_sse_django.log.address import END, Address, Recipient, q, where
from eric_sse_django.log.dialect import (
    CREATED_AT,
    PAYLOAD,
    PAYLOAD_TO,
    Dialect,
    dialect_of,
    log_dialect,
)
from eric_sse_django.log.history import (
    Seen,
    base_of,
    begin_history,
    connected,
    highest,
    is_same,
    is_this_database,
    make_head,
    see,
    see_by,
    see_statement,
    seen_of,
)
from eric_sse_django.log.lifetime import ALIVE
from eric_sse_django.log.limits import too_old
from eric_sse_django.log.page import Page
from eric_sse_django.log.protocol import Between, Channels, Known, Look
from eric_sse_django.log.reset import add_resets, floor_of
from eric_sse_django.log.sequencer import head
from eric_sse_django.models import Listener, LogHead, QueuedMessage

# Bytes of payloads in a page: as many as 1,000 messages of the usual size have, and more than a
# stream's buffer. Without it, 1,000 of the largest (256 KB) were 256 MB at once.
PAGE_BYTES = 4_194_304
# Control messages that are read of those over the limit: the last one counts, which stops a
# listener or is a position to read from again.
MAX_CONTROLS = 10

SEEN = 6  # columns of see_statement()
ORDER = "ORDER BY position LIMIT %s"

# The end of the log, for all channels --------------------------------------------------


def follow(seen: int | None = None) -> Known:
    """
    Return the log's head, from which a reader follows it: see Log.follow().

    The head of a new history also where the database is not the one that the head names.
    """
    dialect = connected()
    if seen is not None:
        return begin_history(seen)
    using = dialect.connection.alias
    is_this, found = is_this_database(dialect), see(using)
    if found is None and highest():
        # It was lost, as by a TRUNCATE. Created with the next message it would end all streams.
        make_head(using)
        found = see(using)
    if found is None:
        return Known(0)
    return found.head if is_this else begin_history(found.head.position)


def look(known: Known, channels: Channels | None, limit: int) -> Look:
    """
    Return what follows a reader's position: see Log.look().

    For a new connection it also checks which database that is.
    """
    dialect = connected()
    connection, using = dialect.connection, dialect.connection.alias
    is_compared = connection.connection is not None and connection.connection is dialect.compared
    is_this = is_compared or is_this_database(dialect)
    among = "TRUE" if channels is None else _among(channels, known.position)
    ask = _look_at_once if dialect.joins_head else _look
    with connection.cursor() as cursor:
        seen, rows = ask(cursor, using, known.position, among, limit + 1)
    if seen is None:  # the head is lost: see sequence()
        position, waits = head()
        return Look(Known(position), waits, [], is_this and not known.position)
    # The message at the known position comes with those after it, from one reading.
    has_past = bool(rows) and rows[0][0] == known.position
    past = rows[0][CREATED_AT] if has_past else None
    if not is_this or not is_same(known, seen.head, past):
        return Look(seen.head, seen.waits, [], False)
    found = rows[1:] if has_past else rows[:limit]
    return Look(seen.head, seen.waits, dialect_of(connections[using]).entries(found))


def _among(channels: Channels, known: int) -> str:
    """Return a condition for what some channels have after a known position."""
    later = {}
    if isinstance(channels, Mapping):
        later = {channel: at for channel, at in channels.items() if at > known}
    plain = ",".join(str(int(channel)) for channel in channels if channel not in later)
    # A sum, so that no planner uses it: all is in one range of eric_log_tail.
    others = [
        f"OR channel_id = {int(channel)} AND position + 0 >= {int(at)}"
        for channel, at in later.items()
    ]
    return " ".join([f"channel_id IN ({plain or 'NULL'})", *others])


def _look(
    cursor: Any, using: str, after: int, among: str, limit: int
) -> tuple[Seen | None, list[Any]]:
    seen = see_by(cursor, using)
    if seen is None or seen.head.position <= after:
        return seen, []
    statement = _after(using).format(among=among)
    cursor.execute(statement, [after, after, after, seen.head.position, limit])
    rows = cursor.fetchall()
    # As of the rows: what was removed since the head was read is not among them.
    if rows and rows[0][0] == after:
        trimmed = int(rows[0][PAYLOAD])
    else:
        again = see_by(cursor, using)
        trimmed = again.head.trimmed if again is not None else 0
    head = seen.head._replace(trimmed=max(seen.head.trimmed, trimmed))
    return Seen(head, seen.waits), rows


@lru_cache
def _after(using: str) -> str:
    trimmed = _trimmed(dialect_of(connections[using]))
    return f"{_from_past(using, trimmed)} AND position <= %s {ORDER}"


def _trimmed(dialect: Dialect) -> str:
    return f"(SELECT trimmed FROM {dialect.heads} WHERE id = {LogHead.THE_ONE})"


def _look_at_once(
    cursor: Any, using: str, after: int, among: str, limit: int
) -> tuple[Seen | None, list[Any]]:
    # One more call took 0.4 ms of the 4.5 that a message takes through idle servers.
    statement = _both(using).format(among=among)
    cursor.execute(statement, [after, after, after, limit])
    rows = cursor.fetchall()
    if not rows:
        return None, []
    found = [row[SEEN:] for row in rows if row[SEEN] is not None]
    found.sort(key=itemgetter(0))  # by position: a join has no order
    return seen_of(rows[0][:SEEN]), found


@lru_cache
def _from_past(using: str, instead: str = "NULL") -> str:
    # With the message at the position itself, of any channel; without its payload.
    payload = f"CASE WHEN position > %s THEN payload ELSE {instead} END"
    dialect = dialect_of(connections[using])
    return (
        f"SELECT {dialect.columns(payload)} FROM {dialect.log} "
        f"WHERE position >= %s AND (position = %s OR {{among}})"
    )


@lru_cache
def _both(using: str) -> str:
    # One statement sees no position over the head, and a condition for that would hide from the
    # planner how few rows there are. But the range needs an end: else it includes the rows without
    # a position, also dead ones that an old snapshot keeps (3 ms for 60,000).
    past = f"{_from_past(using)} AND position <= {END}"
    return (
        f"SELECT head.*, new.* FROM ({see_statement(using)}) AS head "
        f"LEFT JOIN ({past} {ORDER}) AS new ON TRUE"
    )


def channels_between(known: Known, upto: int, limit: int) -> Between | None:
    """Return the channels of what is after a known position: see Log.channels_between()."""
    dialect = log_dialect()
    with dialect.connection.cursor() as cursor:
        cursor.execute(_channels(dialect.connection.alias), [known.position, upto, limit + 2])
        rows = list(cursor.fetchall())
    if not rows or len(rows) > limit + 1 or rows[0][:3:2] != (known.position, known.stamp):
        return None
    # As of the rows: what was removed before is not among them.
    trimmed: int = rows[0][3]
    return Between({channel: position for position, channel, *_ in rows[1:]}, trimmed)


@lru_cache
def _channels(using: str) -> str:
    dialect = dialect_of(connections[using])
    return (
        f"SELECT position, channel_id, {dialect.stamp('created_at')}, {_trimmed(dialect)} "
        f"FROM {dialect.log} WHERE position >= %s AND position <= %s {ORDER}"
    )


# What is addressed to listeners --------------------------------------------------------


def read(recipients: Sequence[Recipient], upto: int | None, limit: int) -> Page:
    """
    Return the first entries that are addressed to the recipients: see Log.read().

    Fewer than `limit` where they are large: the page has the position that it reached. Three
    to five queries for each recipient.
    """
    # Never without a bound: one of the queries below might see what an earlier one did
    # not, and a recipient that continues after that would skip what the earlier one missed.
    if upto is None:
        upto = head().position
    # No two events may have one id: where a history begins, each recipient has a reset.
    pages = [
        _read(recipient, upto, limit, len(recipients) - number)
        for number, recipient in enumerate(recipients, start=1)
    ]
    return Page.merged(pages, limit)


def _read(recipient: Recipient, upto: int, limit: int, before_base: int) -> Page:
    """
    Return the first entries that are addressed to one recipient.

    A reset for the beginning of a history is `before_base` positions before it, where no
    message is either. If more wait than may, the first one stands for the oldest.
    """
    gone = too_old(recipient, upto)
    start = recipient.after if gone is None else gone
    dialect = log_dialect()
    page = rows_of(dialect, recipient._replace(after=start), upto, limit)
    # After the rows: a trim in between can only make it report too much, never too little.
    floor = floor_of(dialect, recipient.channel, recipient.listener) or 0
    controls = [] if gone is None else _controls(recipient, gone)
    return add_resets(page, recipient, {floor, base_of(upto) - before_base}, gone, controls)


def rows_of(dialect: Dialect, recipient: Recipient, upto: int, limit: int) -> Page:
    """Return the first messages that are addressed to a recipient, without resets."""
    addresses = recipient.addresses()
    return Page.merged(
        [page_of(dialect, to, recipient.after, upto, limit) for to in addresses], limit
    )


def _controls(recipient: Recipient, upto: int) -> list[Entry]:
    """Return the last control messages to a listener in (after, upto]: it must not miss them."""
    rows = QueuedMessage.objects.filter(
        q(recipient.listener, None),
        channel=recipient.channel,
        position__gt=recipient.after,
        position__lte=upto,
        type__in=CONTROLS,
    )
    fields = ("position", "channel_id", "listener_id", "owner_id", "type", "payload")
    newest = rows.order_by("-position").values_list(*fields)[:MAX_CONTROLS]
    return [Entry(*row) for row in reversed(newest)]


def page_of(dialect: Dialect, to: Address, after: int, upto: int, limit: int) -> Page:
    """
    Return the first messages with this address in (after, upto] that have not expired.

    `limit` entries and PAGE_BYTES at most, one at least. One query; two more where a payload
    has more than its share of the bytes.
    """
    using = dialect.connection.alias
    share = [] if limit == 1 else [PAGE_BYTES // limit]
    statement = _select(using, to.listener is not None, to.owner is not None, bool(share))
    with dialect.connection.cursor() as cursor:
        values = [*share, to.channel, *to.keys(dialect), after, upto, dialect.now(), limit]
        cursor.execute(statement, values)
        found = list(cursor.fetchall())
    reached = found[-1][0] if len(found) == limit else upto
    large = [row[0] for row in found if row[PAYLOAD_TO] is None]
    if large:
        found, reached = _with_large(dialect, found, large, reached)
    return Page(dialect.entries_to(to, found), reached)


@lru_cache
def _select(using: str, to_listener: bool, to_owner: bool, shared: bool) -> str:
    dialect = dialect_of(connections[using])
    payload = f"CASE WHEN {dialect.size} <= %s THEN payload END" if shared else "payload"
    to = where("= %s" if to_listener else None, "= %s" if to_owner else None)
    return (
        f"SELECT {dialect.columns_to(payload)} FROM {dialect.log} WHERE channel_id = %s AND {to} "
        f"AND position > %s AND position <= %s AND {ALIVE} {dialect.order()} LIMIT %s"
    )


def _with_large(
    dialect: Dialect, found: list[Any], large: list[int], reached: int
) -> tuple[list[Any], int]:
    """Return the rows that fit, with the payloads that were left out, and how far they reach."""
    sizes = _at(dialect, large, dialect.size)
    count = fitting(
        (
            sizes.get(row[0], 0) if row[PAYLOAD_TO] is None else len(row[PAYLOAD_TO])  # …
            for row in found
        ),
        PAGE_BYTES,
    )
    if count < len(found):
        found, reached = found[:count], found[count - 1][0]
    payloads = _at(dialect, [position for position in large if position <= reached], "payload")
    filled = (
        row
        if row[PAYLOAD_TO] is not None
        else (*row[:PAYLOAD_TO], payloads.get(row[0]), *row[PAYLOAD_TO + 1 :])
        for row in found
    )
    # None: trimmed meanwhile. The floor, which is read afterwards, has it.
    return [row for row in filled if row[PAYLOAD_TO] is not None], reached


def fitting(sizes: Iterable[int], most: int) -> int:
    """Return how many of the first sizes are `most` together, and at least one if there is one."""
    count = total = 0
    for count, size in enumerate(sizes, start=1):
        total += size
        if total > most and count > 1:
            return count - 1
    return count


def _at(dialect: Dialect, positions: Iterable[int], what: str) -> dict[int, Any]:
    """Return a column or expression of each of the messages at these positions. One query."""
    keys = ",".join(map(str, map(int, positions))) or "NULL"
    with dialect.connection.cursor() as cursor:
        cursor.execute(f"SELECT position, {what} FROM {dialect.log} WHERE position IN ({keys})")
        return dict(cursor.fetchall())


def waiting(listener: Listener) -> int:
    """Return how many messages, with a position and not expired, wait in a listener's queue."""
    dialect, ranges = log_dialect(), Recipient.of(listener).ranges()
    counts = dialect.union_all(
        [f"SELECT COUNT(*) {part.rows()} AND {ALIVE}" for part in ranges],
        [[*part.params(), dialect.now()] for part in ranges],
    )
    return sum(count for (count,) in counts)


def position_at(moment: datetime) -> int:
    """
    Return a position that is before all that was published since a moment.

    Positions follow time, except for long transactions: one of those that began before and
    ended after the moment may come before it. About 25 queries by index on a log of 10,000,000
    rows, as there is no index on time.
    """
    rows = QueuedMessage.objects.filter(position__isnull=False)
    latest = head().position
    first = rows.aggregate(Min("position"))["position__min"]
    if first is None:
        return latest
    low, high = first - 1, latest  # up to `low` it is older, after `high` it is not
    while low < high:
        middle = (low + high + 1) // 2
        at = rows.filter(position__gte=middle, position__lte=high).order_by("position", "id")
        found = at.values_list("position", "created_at").first()
        if found is None or found[1] >= moment:
            high = middle - 1
        else:
            low = found[0]
    return int(low)
