"""
The errors that this package raises.

An error keeps its values in attributes and in `args`; its text is built when it is read. So it
survives pickling, and all errors of one type have the same text.
"""

from __future__ import annotations


class EricError(Exception):
    """Base class of this package's errors."""


class InvalidChannelException(EricError):
    """There is no channel with that id."""

    def __init__(self, channel_id: str | None = None, hint: str | None = None) -> None:
        super().__init__(channel_id, hint)
        self.channel_id = channel_id
        self.hint = hint

    def __str__(self) -> str:
        if self.channel_id is None:
            return "There is no channel: register the listener with one first."
        hint = "create it first, or check its id" if self.hint is None else self.hint
        return f"There is no channel {self.channel_id!r}: {hint}."


class InvalidConnectionException(EricError):
    """There is no connection with that id."""

    def __init__(self, connection_id: str | None = None) -> None:
        super().__init__(connection_id)
        self.connection_id = connection_id

    def __str__(self) -> str:
        return (
            f"There is no connection {self.connection_id!r}: register it first, "
            "or take one from get_connections()."
        )


class InvalidListenerException(EricError):
    """The channel has no listener with that id."""

    def __init__(self, listener_id: str | None = None, channel_id: str | None = None) -> None:
        super().__init__(listener_id, channel_id)
        self.listener_id = listener_id
        self.channel_id = channel_id

    def __str__(self) -> str:
        where = "There is" if self.channel_id is None else f"Channel {self.channel_id!r} has"
        return (
            f"{where} no listener {self.listener_id!r}: register it first, "
            "or use the id of the listener that add_listener() returned."
        )


class NoMessagesException(EricError):
    """There is no message now; a later call may return one."""

    def __init__(
        self,
        reason: str = "the queue is empty; push to it, or wait with message_stream()",
        listener_id: str | None = None,
    ) -> None:
        super().__init__(reason, listener_id)
        self.reason = reason
        self.listener_id = listener_id

    def __str__(self) -> str:
        whose = "" if self.listener_id is None else f" for listener {self.listener_id!r}"
        return f"No message{whose}: {self.reason}."


class InvalidMessageFormat(EricError):
    """The message cannot be published, or a value is not a message."""

    def __init__(self, reason: str = "it is not a message of this package") -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"The message was refused: {self.reason}."


class EncodingFailed(EricError):
    """A message cannot be encoded as an event: what adapt() or encode() raised is the cause."""

    def __init__(self, channel: int | None = None, position: int | None = None) -> None:
        super().__init__(channel, position)
        self.channel = channel
        self.position = position

    def __str__(self) -> str:
        return f"The message at position {self.position} of channel {self.channel} has no event."


class RepositoryError(EricError):
    """The store of a queue or a channel failed; what it raised is the cause."""

    def __init__(self, reason: object = "no reason was given") -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"The store failed: {self.reason}. Try again when it is available."


class StreamEnded(EricError):
    """A stream that is read in Python ended while its listener runs: it can be started again."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"The stream ended ({self.reason}), but its listener was not stopped: "
            "messages that were not yielded wait for the next message_stream()."
        )


class ItemNotFound(EricError):
    """Nothing is stored under that key."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key

    def __str__(self) -> str:
        return f"Nothing is stored under {self.key!r}: store it first, or check the key."


class InvalidIdentifier(EricError, ValueError):
    """A channel or listener in the database cannot have this id."""

    def __init__(self, identifier: object, rule: str = "") -> None:
        super().__init__(identifier, rule)
        self.identifier = identifier
        self.rule = rule

    def __str__(self) -> str:
        return f"{self.identifier!r} cannot be an id. {self.rule}".rstrip()


class ChannelExists(EricError):
    """A channel with that id exists already."""

    def __init__(self, channel_id: str) -> None:
        super().__init__(channel_id)
        self.channel_id = channel_id

    def __str__(self) -> str:
        return (
            f"The channel {self.channel_id!r} exists already: load() it, or use get_or_create()."
        )


class TooManyListeners(EricError):
    """The channel has ERIC_SSE["MAX_LISTENERS_PER_CHANNEL"] listeners."""

    def __init__(self, channel_id: str, listeners: int, most: int) -> None:
        super().__init__(channel_id, listeners, most)
        self.channel_id = channel_id
        self.listeners = listeners
        self.most = most

    def __str__(self) -> str:
        return (
            f"Channel {self.channel_id!r} has {self.listeners} listeners, and "
            f"MAX_LISTENERS_PER_CHANNEL is {self.most}: remove some, or raise the setting."
        )
