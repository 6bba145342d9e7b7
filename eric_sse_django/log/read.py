"""Reading messages after a position: history and live, on one road."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from django.utils import timezone

from eric_sse_django.entry import CONTROLS, Entry
from eric_sse_django.log.alias import database
from eric_sse_django.log.bound import too_old
from eric_sse_django.log.entries import page_of
from eric_sse_django.log.order import in_a_range
from eric_sse_django.log.page import Page, place
from eric_sse_django.log.sequence import head
from eric_sse_django.models import Channel, Listener, QueuedMessage


def read(
    channel: int, listener: int | None, owner: Any, after: int, upto: int | None, limit: int
) -> Page:
    """
    Return what is addressed to a listener (None: broadcasts only) in (after, upto], in order.

    At most `limit` entries, none that is expired, and fewer where they are large: the page
    says how far it reached. `upto` is a position that was given before, None for the log's
    head. Where retention removed some of it, one `eric-reset` entry stands at the highest
    position removed. Where more waits than may, it begins with one that stands for the oldest.
    """
    # Never without a bound: one of the queries below might see what an earlier one did
    # not, and a reader that goes on after that would skip what the earlier one missed.
    if upto is None:
        upto, _ = head()
    gone = too_old(channel, listener, owner, after, upto)
    start = after if gone is None else gone
    rows = QueuedMessage.objects.using(database()).filter(
        _is_alive(), channel_id=channel, position__gt=start, position__lte=upto
    )
    page = Page.merged(
        [
            page_of(rows.filter(to).order_by(*in_a_range()), upto, limit)
            for to in _addresses(listener, owner)
        ],
        limit,
    )
    # After the rows: a trim in between can only make this say too much, never too little.
    floor = floor_of(channel, listener)
    if start < floor <= page.reached:
        page.append(Entry.reset(channel, listener, start, floor))
        page.sort(key=place)
    if gone is not None:
        page.insert(0, Entry.reset(channel, listener, after, gone))
    return page


def _is_alive() -> Q:
    return Q(perishable=False) | Q(expires_at__gt=timezone.now())


def _addresses(listener: int | None, owner: Any) -> list[Q]:
    addresses = [Q(listener__isnull=True, owner__isnull=True)]
    if listener is not None:
        addresses.append(Q(listener=listener, owner__isnull=True))
    if owner is not None:
        addresses.append(Q(listener__isnull=True, owner=owner))
    return addresses


def floor_of(channel: int, listener: int | None) -> int:
    """Return the highest position that retention removed of what they may not have seen."""
    using = database()
    floors: tuple[int, ...] | None
    if listener is None:
        floors = Channel.objects.using(using).filter(pk=channel).values_list("floor").first()
    else:
        rows = Listener.objects.using(using).filter(pk=listener)
        floors = rows.values_list("floor", "channel__floor").first()
    return max(floors or (0,))


def waiting(listener: Listener) -> int:
    """Return how many messages, with a position and not expired, wait in a listener's queue."""
    rows = QueuedMessage.objects.using(database()).filter(
        _is_alive(), channel_id=listener.channel_id, position__gt=listener.cursor
    )
    to = _addresses(listener.pk, listener.owner_id)
    controls = rows.filter(listener=listener.pk, owner__isnull=True, type__in=CONTROLS).count()
    return sum(rows.filter(address).count() for address in to) - controls
