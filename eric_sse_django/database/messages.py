"""Messages out of entries."""

from __future__ import annotations

import json

from eric_sse_django.entry import Entry
from eric_sse_django.message import Message, MessageContract, SignedMessage, UniqueMessage


def message_of(entry: Entry) -> MessageContract:
    """Return the message as it was published: signed and unique where it was."""
    payload = json.loads(entry.payload)
    if entry.uid is not None:
        return UniqueMessage(Message(entry.type, payload), entry.sender, entry.uid)
    if entry.sender is not None:
        return SignedMessage(entry.sender, entry.type, payload)
    return Message(entry.type, payload)
