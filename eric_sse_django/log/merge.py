"""Reading several addresses of the log as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eric_sse_django.log.page import Page
from eric_sse_django.log.read import read

# A channel, the listener's and the owner's keys or None, and the position to begin after.
Address = tuple[int, "int | None", Any, int]


def read_all(addresses: Sequence[Address], upto: int, limit: int) -> Page:
    """
    Return what read() gives for each address, up to a position, in the log's one order.

    At most `limit` entries, the first; as many queries as read() makes, for each address.
    """
    # No two events are to have one id: where a history begins, each address has a reset.
    pages = [
        read(*address, upto, limit, len(addresses) - number)
        for number, address in enumerate(addresses, start=1)
    ]
    return Page.merged(pages, limit)
