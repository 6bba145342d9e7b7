"""Reading messages after a position: history and live, on one road."""

from __future__ import annotations

from typing import Any

from django.db.models import Q

from eric_sse_django.entry import CONTROLS, Entry
from eric_sse_django.log.bound import too_old
from eric_sse_django.log.dialect import log_dialect
from eric_sse_django.log.entries import ALIVE, page_of
from eric_sse_django.log.history import base_of
from eric_sse_django.log.page import Page, place
from eric_sse_django.log.ranges import ranges_of
from eric_sse_django.log.sequence import head
from eric_sse_django.models import Channel, Listener, QueuedMessage

# The last word counts: whether to stop, or from where to read again.
MOST_TOLD = 10


def read(
    channel: int,
    listener: int | None,
    owner: Any,
    after: int,
    upto: int | None,
    limit: int,
    before_base: int = 0,
) -> Page:
    """
    Return what is addressed to a listener (None: broadcasts only) in (after, upto], in order.

    At most `limit` entries, none that is expired, and fewer where they are large: the page
    says how far it reached. `upto` is a position that was given before, None for the log's
    head. Where retention removed some of it, one `eric-reset` entry stands at the highest
    position removed; so it does where a history begins, for the database had gone back then.
    That is told `before_base` positions earlier, where no message is either: those who read
    several addresses give each its own. Where more waits than may, it begins with one that
    stands for the oldest.
    """
    # Never without a bound: one of the queries below might see what an earlier one did
    # not, and a reader that goes on after that would skip what the earlier one missed.
    if upto is None:
        upto, _ = head()
    gone = too_old(channel, listener, owner, after, upto)
    start = after if gone is None else gone
    ways = _ways(listener, owner)
    page = Page.merged([page_of(channel, *way, start, upto, limit) for way in ways], limit)
    # After the rows: a trim in between can only make this say too much, never too little.
    for floor in {floor_of(channel, listener), base_of(upto) - before_base}:
        if start < floor:
            _add_reset(page, Entry.reset(channel, listener, start, floor))
    if gone is not None:
        reset = Entry.reset(channel, listener, after, gone)
        page[:0] = [*_told(channel, listener, after, gone), reset]
    return page


def _add_reset(page: Page, reset: Entry) -> None:
    """Put a reset into its place in a page; note that it is owed where that comes later."""
    floor = reset.position
    if floor > page.reached:
        page.owes = max(page.owes, floor)
        return
    # The message there was read, and then removed: two events are not to have one id.
    page[:] = [each for each in page if each.position != floor or each.type in CONTROLS]
    page.append(reset)
    page.sort(key=place)


def _told(channel: int, listener: int | None, after: int, upto: int) -> list[Entry]:
    """Return what a listener's streams were told in (after, upto]: that is not to be missed."""
    rows = QueuedMessage.objects.filter(
        *(Q(channel=channel), Q(listener=listener), Q(owner__isnull=True)),
        *(Q(position__gt=after), Q(position__lte=upto), Q(type__in=CONTROLS)),
    )
    fields = ("position", "channel_id", "listener_id", "owner_id", "type", "payload")
    newest = rows.order_by("-position").values_list(*fields)[:MOST_TOLD]
    return [Entry(*row) for row in reversed(newest)]


def _ways(listener: int | None, owner: Any) -> list[tuple[int | None, Any]]:
    """Return the ways of being addressed, as a listener's and an owner's keys: to all, …"""
    ways: list[tuple[int | None, Any]] = [(None, None)]
    if listener is not None:
        ways.append((listener, None))
    if owner is not None:
        ways.append((None, owner))
    return ways


def floor_of(channel: int, listener: int | None) -> int:
    """Return the highest position that retention removed of what they may not have seen."""
    floors: tuple[int, ...] | None
    if listener is None:
        floors = Channel.objects.filter(pk=channel).values_list("floor").first()
    else:
        rows = Listener.objects.filter(pk=listener)
        floors = rows.values_list("floor", "channel__floor").first()
    return max(floors or (0,))


def waiting(listener: Listener) -> int:
    """Return how many messages, with a position and not expired, wait in a listener's queue."""
    dialect = log_dialect()
    ranges = list(ranges_of(listener, listener.cursor))
    counts = dialect.union_all(
        [f"SELECT COUNT(*) {part.rows()} AND {ALIVE}" for part in ranges],
        [[*part.params(), dialect.now()] for part in ranges],
    )
    return sum(count for (count,) in counts)
