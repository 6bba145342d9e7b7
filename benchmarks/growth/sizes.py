"""The size of a database."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """The number of stored messages, and of offline listeners."""

    rows: int
    listeners: int
