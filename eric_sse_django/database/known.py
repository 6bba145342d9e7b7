"""Channels that this process has published to, so that the next publish needs no query first."""

from __future__ import annotations

from eric_sse_django import log
from eric_sse_django.database.rows import channel_row
from eric_sse_django.models import Channel

# Rows that are remembered; with more, all are forgotten: each costs one query again.
MAX_KNOWN = 1_000

_known: dict[tuple[str, str], Channel] = {}


def known_channel(channel_id: str) -> Channel:
    """
    Return the channel's row, as it was when it was first asked for.

    What is done with it must find out whether it still holds, as log.append_to() does; then
    refreshed() reads it again. Raises InvalidChannelException. No query, or one.
    """
    row = _known.get((log.database(), channel_id))
    return refreshed(channel_id) if row is None else row


def refreshed(channel_id: str) -> Channel:
    """Return the channel's row, read again; raises InvalidChannelException. One query."""
    key = log.database(), channel_id
    _known.pop(key, None)
    row = channel_row(channel_id)
    if len(_known) >= MAX_KNOWN:
        _known.clear()
    _known[key] = row
    return row
