"""Reading what is addressed to listeners after a position: history and live, in one way."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db.models import Min

from eric_sse_django.entry import CONTROLS, Entry
from eric_sse_django.log.address import Recipient, q
from eric_sse_django.log.dialect import log_dialect
from eric_sse_django.log.entries import page_of
from eric_sse_django.log.history import base_of
from eric_sse_django.log.lifetime import ALIVE
from eric_sse_django.log.limits import too_old
from eric_sse_django.log.protocol import Page
from eric_sse_django.log.reset import add_resets, floor_of
from eric_sse_django.log.sequencer import head
from eric_sse_django.models import Listener, QueuedMessage

# Control messages that are read of those over the limit: the last one counts, which stops a
# listener or is a position to read from again.
MAX_CONTROLS = 10


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
    pages = [page_of(to, start, upto, limit) for to in recipient.addresses()]
    page = Page.merged(pages, limit)
    # After the rows: a trim in between can only make it report too much, never too little.
    floors = {floor_of(recipient.channel, recipient.listener), base_of(upto) - before_base}
    controls = [] if gone is None else _controls(recipient, gone)
    return add_resets(page, recipient, floors, gone, controls)


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
