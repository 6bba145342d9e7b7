"""The ranges of the log that are one listener's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from eric_sse_django.entry import CONTROLS
from eric_sse_django.log.dialect import log_dialect
from eric_sse_django.models import Listener

# A position after every other: the largest that the column holds.
END = 2**63 - 1
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
        rows = self._rows(str(int(self.channel)), str(self.listener), "%s", str(int(self.after)))
        return rows if self.upto == END else f"{rows} AND position <= {int(self.upto)}"

    def rows_of(self, asked: str) -> str:
        """Return the same for any range of this kind, in a table `asked` of values()."""
        columns = (f"{asked}.{name}" for name in ("channel", "listener", "owner", "after"))
        return self._rows(*columns)

    def _rows(self, channel: str, listener: str, owner: str, after: str) -> str:
        parts = [
            f"channel_id = {channel}",
            "listener_id IS NULL" if self.listener is None else f"listener_id = {listener}",
            "owner_id IS NULL" if self.owner is None else f"owner_id = {owner}",
            f"position > {after}",
        ]
        if self.listener is not None:
            parts.append(f"type NOT IN ({NO_CONTROLS})")  # only here, where they are
        return f"FROM {log_dialect().log} WHERE {' AND '.join(parts)}"

    def values(self, number: int) -> str:
        """Return it as a row of PostgreSQL's VALUES, with a placeholder for each of params()."""
        kind = log_dialect().type_of("owner")
        listener = "NULL" if self.listener is None else str(int(self.listener))
        owner = f"CAST({'NULL' if self.owner is None else '%s'} AS {kind})"
        after = f"CAST({int(self.after)} AS bigint)"
        return f"({number}, {int(self.channel)}, CAST({listener} AS bigint), {owner}, {after})"

    def params(self) -> list[Any]:
        if self.owner is None:
            return []
        return [log_dialect().key("owner", self.owner)]


def ranges_of(listener: Listener, after: int, upto: int = END) -> Iterator[Range]:
    """Yield the ranges of what is addressed to a listener: to all, to it, to its owner."""
    return ranges_to(listener.channel_id, listener.pk, listener.owner_id, after, upto)


def ranges_to(
    channel: int, listener: int, owner: Any, after: int, upto: int = END
) -> Iterator[Range]:
    """As ranges_of(), of a listener by keys."""
    yield Range(channel, None, None, after, upto)
    yield Range(channel, listener, None, after, upto)
    if owner is not None:
        yield Range(channel, None, owner, after, upto)
