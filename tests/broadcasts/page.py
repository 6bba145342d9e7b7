"""Pages that apply what they receive, and the rows that they should show."""

import json

from eric_sse_django import notifier
from eric_sse_django.models import QueuedMessage


class Page:
    """
    What a page shows: rows by id, changed by the messages of a channel in the order of the log.

    `load` returns the rows, for a message that asks for them.
    """

    def __init__(self, channel, name, load):
        self.channel, self.name, self.load = channel, name, load
        self.position = 0
        self.rows = {row["id"]: row for row in load()}
        self.received = []

    def update(self):
        """Apply the messages since the last call; return their types."""
        notifier.settle()
        found = QueuedMessage.objects.filter(
            channel__name=self.channel, position__gt=self.position
        ).order_by("position")
        types = []
        for message in found:
            self.position = message.position
            types.append(message.type)
            self.apply(message.type, json.loads(message.payload))
        self.received += types
        return types

    def apply(self, type, payload):
        if type in (f"{self.name}-created", f"{self.name}-changed"):
            self.rows[payload["id"]] = payload
        elif type == f"{self.name}-deleted":
            self.rows.pop(payload["id"], None)
        elif type == f"{self.name}-reload":
            self.rows = {row["id"]: row for row in self.load()}
        else:
            raise AssertionError(type)
