"""The ranges of the log that are one listener's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connections

from eric_sse_django.entry import CONTROLS
from eric_sse_django.log.alias import database
from eric_sse_django.log.read import END
from eric_sse_django.models import Listener, QueuedMessage

# What a hub is told in the log is no message.
NO_CONTROLS = ", ".join(f"'{control}'" for control in sorted(CONTROLS))


@dataclass(frozen=True)
class Range:
    """What is addressed in one way, in (after, upto]: one range of the index eric_log_read."""

    channel: int
    listener: int | None
    owner: Any
    after: int
    upto: int = END

    def rows(self) -> str:
        """Return "FROM … WHERE …", with a placeholder for each of params()."""
        parts = [
            f"channel_id = {int(self.channel)}",
            "listener_id IS NULL" if self.listener is None else f"listener_id = {self.listener:d}",
            "owner_id IS NULL" if self.owner is None else "owner_id = %s",
            f"position > {int(self.after)}",
        ]
        if self.upto != END:
            parts.append(f"position <= {int(self.upto)}")
        if self.listener is not None:
            parts.append(f"type NOT IN ({NO_CONTROLS})")  # only here, where they are
        return f"FROM {log_table()} WHERE {' AND '.join(parts)}"

    def params(self) -> list[Any]:
        if self.owner is None:
            return []
        field = QueuedMessage._meta.get_field("owner")
        return [field.get_db_prep_value(self.owner, connections[database()])]


def log_table() -> str:
    """Return the log's table, quoted for its database."""
    return connections[database()].ops.quote_name(QueuedMessage._meta.db_table)


def in_order(direction: str = "ASC") -> str:
    """Return the ORDER BY of a range that its index gives without sorting."""
    columns = ("listener_id", "owner_id", "position")
    return "ORDER BY " + ", ".join(f"{column} {direction}" for column in columns)


def ranges_of(listener: Listener, after: int, upto: int = END) -> Iterator[Range]:
    """Yield the ranges of what is addressed to a listener: to all, to it, to its owner."""
    channel = listener.channel_id
    yield Range(channel, None, None, after, upto)
    yield Range(channel, listener.pk, None, after, upto)
    if listener.owner_id is not None:
        yield Range(channel, None, listener.owner_id, after, upto)
