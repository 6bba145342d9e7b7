"""
The recipients of a message: all listeners of a channel, one of them, or those of one owner.

A message has one address. A listener reads up to three: each is one range of an index.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db.models import Q, QuerySet

from eric_sse_django.entry import CONTROLS, Addressed
from eric_sse_django.log.dialect import Dialect, log_dialect
from eric_sse_django.models import Listener

# A position after every other: the largest that the column holds.
END = 2**63 - 1
# Control messages wait for nobody, so counts leave them out.
NO_CONTROLS = f"type NOT IN ({', '.join(repr(control) for control in sorted(CONTROLS))})"


def where(listener: str | None, owner: str | None) -> str:
    """Return the condition for one kind of address, from a comparison for each key it has."""
    return f"listener_id {listener or 'IS NULL'} AND owner_id {owner or 'IS NULL'}"


def q(listener: Any, owner: Any) -> Q:
    """Return the same for Django's queries, from the keys."""
    to_listener = Q(listener__isnull=True) if listener is None else Q(listener=listener)
    return to_listener & (Q(owner__isnull=True) if owner is None else Q(owner=owner))


@dataclass(frozen=True)
class Address(Addressed):
    """Keys: of a channel, and of a listener or an owner if not all are addressed."""

    channel: int
    listener: int | None = None
    owner: Any = None

    def keys(self, dialect: Dialect) -> list[Any]:
        """Return the parameters: the listener's or the owner's key, or none."""
        keys: list[Any] = [] if self.listener is None else [self.listener]
        return keys if self.owner is None else [*keys, dialect.key("owner", self.owner)]

    def listeners(self) -> QuerySet[Listener]:
        """Return the listeners that are addressed."""
        rows = Listener.objects.filter(channel=self.channel)
        if self.listener is not None:
            return rows.filter(pk=self.listener)
        return rows if self.owner is None else rows.filter(owner=self.owner)


@dataclass(frozen=True)
class Range:
    """The messages with one address in (after, upto]: one range of the index eric_log_read."""

    to: Address
    after: int
    upto: int = END

    def rows(self) -> str:
        """Return "FROM … WHERE …", with a placeholder for each of params()."""
        to = self.to
        rows = self._rows(str(int(to.channel)), str(to.listener), "%s", str(int(self.after)))
        return rows if self.upto == END else f"{rows} AND position <= {int(self.upto)}"

    def rows_of(self, table: str) -> str:
        """Return the same for all ranges of this kind of address, in a table of values()."""
        columns = (f"{table}.{name}" for name in ("channel", "listener", "owner", "after"))
        return self._rows(*columns)

    def _rows(self, channel: str, listener: str, owner: str, after: str) -> str:
        to = where(
            None if self.to.listener is None else f"= {listener}",
            None if self.to.owner is None else f"= {owner}",
        )
        # Only those to a listener may be control messages.
        messages = "" if self.to.listener is None else f" AND {NO_CONTROLS}"
        table = log_dialect().log
        return (
            f"FROM {table} WHERE channel_id = {channel} AND {to} AND position > {after}{messages}"
        )

    def values(self, number: int) -> str:
        """Return it as a row of PostgreSQL's VALUES, with a placeholder for each of params()."""
        to, kind = self.to, log_dialect().type_of("owner")
        listener = "NULL" if to.listener is None else str(int(to.listener))
        owner = f"CAST({'NULL' if to.owner is None else '%s'} AS {kind})"
        after = f"CAST({int(self.after)} AS bigint)"
        return f"({number}, {int(to.channel)}, CAST({listener} AS bigint), {owner}, {after})"

    def params(self) -> list[Any]:
        """Return the owner's key as a parameter, if it has one."""
        return [] if self.to.owner is None else [log_dialect().key("owner", self.to.owner)]


class Recipient(NamedTuple):
    """Keys: of a channel, its listener (None: a watcher) and its owner; and where it begins."""

    channel: int
    listener: int | None = None
    owner: Any = None
    after: int = 0

    @classmethod
    def of(cls, listener: Listener, after: int | None = None) -> Recipient:
        """Return a listener's, from a position, or else from its cursor."""
        after = listener.cursor if after is None else after
        return cls(listener.channel_id, listener.pk, listener.owner_id, after)

    def addresses(self) -> list[Address]:
        """Return the addresses of all messages that it gets."""
        found = [Address(self.channel)]
        if self.listener is not None:
            found.append(Address(self.channel, self.listener))
        if self.owner is not None:
            found.append(Address(self.channel, None, self.owner))
        return found

    def ranges(self, upto: int = END) -> list[Range]:
        """Return the ranges of what it gets."""
        return [Range(to, self.after, upto) for to in self.addresses()]
