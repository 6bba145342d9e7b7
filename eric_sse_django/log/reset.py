"""Where a recipient gets an `eric-reset`: in the place of what it has missed."""

from __future__ import annotations

from collections.abc import Iterable

from eric_sse_django.entry import CONTROLS, Entry
from eric_sse_django.log.address import Recipient
from eric_sse_django.log.protocol import Page, position_of
from eric_sse_django.models import Channel, Listener


def floor_of(channel: int, listener: int | None) -> int:
    """Return the highest position that retention removed and the recipient may have missed."""
    floors: tuple[int, ...] | None
    if listener is None:
        floors = Channel.objects.filter(pk=channel).values_list("floor").first()
    else:
        rows = Listener.objects.filter(pk=listener)
        floors = rows.values_list("floor", "channel__floor").first()
    return max(floors or (0,))


def add_resets(
    page: Page,
    recipient: Recipient,
    floors: Iterable[int],
    gone: int | None,
    controls: Iterable[Entry],
) -> Page:
    """
    Return a recipient's page with a reset at each floor that it has not passed.

    If messages up to `gone` are skipped, because more wait than may, it begins with a reset for
    those, and with the control messages among them.
    """
    channel, listener, _, after = recipient
    start = after if gone is None else gone
    for floor in floors:
        if start < floor:
            _add(page, Entry.reset(channel, listener, start, floor))
    if gone is not None:
        page[:0] = [*controls, Entry.reset(channel, listener, after, gone)]
    return page


def _add(page: Page, reset: Entry) -> None:
    """Put a reset into its place in a page; if that is later, it follows the page."""
    floor = reset.position
    if floor > page.reached:
        page.later_reset = max(page.later_reset, floor)
        return
    # The message there was read, and then removed: two events may not have one id.
    page[:] = [each for each in page if each.position != floor or each.type in CONTROLS]
    page.append(reset)
    page.sort(key=position_of)
