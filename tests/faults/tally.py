"""What one client received, checked on arrival."""

from __future__ import annotations

import json
from typing import Any


class Tally:
    """
    Used instead of a client's list of records: stores the ids, and counts errors.

    `meaning` is shared by all clients: the message that had an id when it first arrived.
    """

    def __init__(self, meaning: dict[int, str]) -> None:
        self.ids: list[int] = []
        self.repeats = 0
        self.wrong: list[str] = []
        self._seen: set[int] = set()
        self.meaning = meaning

    def __len__(self) -> int:
        return len(self.ids)

    def keys(self) -> list[str]:
        """Return the keys of the messages in the order in which they first arrived."""
        return [self.meaning[id] for id in self.ids]

    def append(self, record: Any) -> None:
        """Check an event: its id, and the key in its data."""
        id, data = int(record.event.last_event_id), json.loads(record.event.data)
        key = str(data["key"]) if isinstance(data, dict) else f"{record.event.type}: {data}"
        first = self.meaning.setdefault(id, key)
        if first != key:
            self.wrong.append(f"id {id} was {first}, and arrived again as {key}")
        if id in self._seen:
            self.repeats += 1
            return
        if self.ids and id < self.ids[-1]:
            self.wrong.append(f"id {id} ({key}) arrived after {self.ids[-1]}")
        self._seen.add(id)
        self.ids.append(id)
