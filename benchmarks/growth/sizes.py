"""How much a database holds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """Messages kept, and listeners who are away."""

    rows: int
    listeners: int
