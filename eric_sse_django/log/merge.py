"""Reading several addresses of the log as one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from eric_sse_django.log.page import Page
from eric_sse_django.log.read import read

# A channel, the listener's and the owner's keys or None, and the position to begin after.
Address = tuple[int, "int | None", Any, int]


def read_all(addresses: Iterable[Address], upto: int, limit: int) -> Page:
    """
    Return what read() gives for each address, up to a position, in the log's one order.

    At most `limit` entries, the first; as many queries as read() makes, for each address.
    """
    pages = [
        read(channel, listener, owner, after, upto, limit)
        for channel, listener, owner, after in addresses
    ]
    return Page.merged(pages, limit)
