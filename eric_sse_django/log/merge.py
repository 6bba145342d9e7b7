"""Reading the messages of several readers as one."""

from __future__ import annotations

from collections.abc import Sequence

from eric_sse_django.log.page import Page
from eric_sse_django.log.protocol import Reader
from eric_sse_django.log.read import read


def read_all(readers: Sequence[Reader], upto: int, limit: int) -> Page:
    """
    Return what read() gives for each reader, up to a position, in the log's one order.

    At most `limit` entries, the first; as many queries as read() makes, for each reader.
    """
    # No two events are to have one id: where a history begins, each reader has a reset.
    pages = [
        read(*reader, upto, limit, len(readers) - number)
        for number, reader in enumerate(readers, start=1)
    ]
    return Page.merged(pages, limit)
