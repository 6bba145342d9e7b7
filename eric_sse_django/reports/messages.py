"""Messages as the admin and the monitor show them, and how many listeners were served each."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db.models.functions import Left

from eric_sse_django.entry import CONTROLS
from eric_sse_django.log.address import Address, Recipient
from eric_sse_django.log.dialect import log_dialect
from eric_sse_django.models import Listener, QueuedMessage, usernames

# The index of the owner's key in a row of latest().
OWNER = 5
# Listeners read for a page of messages. If its channels have more, nothing is counted.
MAX_LISTENERS_READ = 2_000
# An escaped backslash (what follows it is not an escape), or a run of escapes.
_ESCAPES: Final = re.compile(r"\\\\|(?:\\u[0-9a-fA-F]{4})+")
_CUT_ESCAPE: Final = re.compile(r"(?<!\\)(?:\\\\)*(\\(?:u[0-9a-fA-F]{0,3})?)$")
# Characters that one character of a payload takes at most when stored: "\u00fc".
ESCAPED_LENGTH: Final = 6


@dataclass(frozen=True)
class Glance:
    """
    One message, with names instead of keys: None where it is not addressed to one.

    `payload` is the beginning of its JSON text; `is_cut` is true if there is more.
    """

    key: int
    position: int
    at: datetime
    channel: str
    listener: str | None
    owner: str | None
    type: str
    payload: str
    is_cut: bool


def latest(after: int, upto: int, most: int, characters: int) -> list[Glance]:
    """
    Return the last `most` messages in (after, upto], oldest first.

    One query by the index eric_log_tail, which reads `characters` of each payload, and one
    for the names of owners.
    """
    columns = (
        *("pk", "position", "created_at", "channel__name", "listener__name"),
        *("owner_id", "type", "beginning"),
    )
    rows = (
        QueuedMessage.objects.filter(position__gt=after, position__lte=upto)
        .exclude(type__in=CONTROLS)
        .annotate(beginning=Left("payload", characters + 1))
        .order_by("-position", "-id")
        .values_list(*columns)[:most]
    )
    found = list(reversed(rows))
    owners = usernames(row[OWNER] for row in found)
    return [_glance(row, owners, characters) for row in found]


def _glance(row: tuple[Any, ...], owners: dict[Any, str], characters: int) -> Glance:
    key, position, at, channel, listener, owner, type, text = row
    is_cut = len(text) > characters
    text = text[:characters]
    return Glance(key, position, at, channel, listener, owners.get(owner), type, text, is_cut)


def around(listener: Listener, most: int = 20) -> tuple[list[QueuedMessage], list[QueuedMessage]]:
    """
    Return the messages around a listener's cursor: the first waiting, and the last served.

    The waiting ones oldest first, the served ones newest first, at most `most` of each. Two
    queries.
    """
    dialect = log_dialect()
    after, upto = listener.cursor, max(listener.cursor, listener.start)
    sought = [(part, "ASC") for part in Recipient.of(listener).ranges()]
    sought += [(part, "DESC") for part in Recipient.of(listener, listener.start).ranges(upto)]
    branches = [
        f"SELECT id FROM (SELECT id {part.rows()} {dialect.order(direction)} LIMIT {most}) part"
        for part, direction in sought
    ]
    found = dialect.union_all(branches, [part.params() for part, _ in sought])
    rows = QueuedMessage.objects.filter(pk__in=[key for (key,) in found]).order_by("position")
    waiting: list[QueuedMessage] = []
    served: list[QueuedMessage] = []
    for row in rows:
        (waiting if (row.position or 0) > after else served).append(row)
    return waiting[:most], served[::-1][:most]


# Payloads: stored as ASCII JSON, and shown as readable text ------------------------------


def readable(text: str, most: int, is_cut: bool = False) -> tuple[str, bool]:
    """
    Return at most `most` characters of JSON text in readable form, and whether it is cut.

    Control characters and lone surrogates stay escaped: a page cannot hold or show them.
    """
    if is_cut and (broken := _CUT_ESCAPE.search(text)):
        text = text[: broken.start(1)]
    text = _ESCAPES.sub(_decoded, text)
    return text[:most], is_cut or len(text) > most


def stored(text: str) -> str:
    """Return a text as it is written within a stored payload, to search for it."""
    return json.dumps(text)[1:-1]


def _decoded(found: re.Match[str]) -> str:
    if found[0] == r"\\":
        return found[0]
    decoded: str = json.loads(f'"{found[0]}"')
    return "".join(
        stored(character) if character < " " or "\ud800" <= character <= "\udfff" else character
        for character in decoded
    )


# Listeners that were served a message -------------------------------------------------


@dataclass(frozen=True)
class DeliveredCount:
    """The listeners that a message is addressed to, and those that have been served it."""

    delivered: int
    addressed: int


def count_delivered(message: QueuedMessage, most: int) -> DeliveredCount | None:
    """Return a message's count, up to `most + 1`; None without a position. Two queries."""
    if message.position is None:
        return None
    rows = _address_of(message).listeners().filter(start__lt=message.position)
    served = rows.filter(cursor__gte=message.position)
    return DeliveredCount(served[: most + 1].count(), rows[: most + 1].count())


def count_delivered_page(messages: Sequence[QueuedMessage]) -> dict[int, DeliveredCount]:
    """
    Return the messages' counts by primary key. One query.

    {} if their channels have more than MAX_LISTENERS_READ listeners.
    """
    channels = {message.channel_id for message in messages}
    rows = Listener.objects.filter(channel__in=channels)
    columns = rows.values_list("channel_id", "pk", "owner_id", "start", "cursor")
    found = list(columns[: MAX_LISTENERS_READ + 1])
    if len(found) > MAX_LISTENERS_READ:
        return {}
    listeners: dict[int, list[Any]] = defaultdict(list)
    for channel, *listener in found:
        listeners[channel].append(listener)
    return {
        message.pk: _count_among(listeners[message.channel_id], message, message.position)
        for message in messages
        if message.position is not None
    }


def _count_among(listeners: list[Any], message: QueuedMessage, position: int) -> DeliveredCount:
    to = _address_of(message)
    cursors = [
        cursor
        for pk, owner, start, cursor in listeners
        if start < position and to.addressed(pk, owner)
    ]
    return DeliveredCount(sum(cursor >= position for cursor in cursors), len(cursors))


def _address_of(message: QueuedMessage) -> Address:
    return Address(message.channel_id, message.listener_id, message.owner_id)
