"""Messages: a type and a payload."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias
from uuid import uuid4

# A payload: a JSON value, or what the project's encoder converts to one.
Payload: TypeAlias = "Mapping[str, Any] | Sequence[Any] | str | int | float | bool | None"


class MessageContract(ABC):
    """The interface of a message for channels, queues and listeners."""

    @property
    @abstractmethod
    def type(self) -> str:
        """The kind of message; the `event:` of a server-sent event."""

    @property
    @abstractmethod
    def payload(self) -> Any:
        """The content of the message."""

    def __repr__(self) -> str:
        # Without the payload: it may be shown in a log or a traceback.
        return f"<{type(self).__name__} {self.type!r}>"


class Message(MessageContract):
    """A type and a payload."""

    def __init__(self, msg_type: str, msg_payload: Payload = None) -> None:
        self._type = msg_type
        self._payload = msg_payload

    @property
    def type(self) -> str:
        return self._type

    @property
    def payload(self) -> Any:
        return self._payload


class SignedMessage(Message):
    """A message with the id of the listener that sent it."""

    def __init__(self, sender_id: str, msg_type: str, msg_payload: Payload = None) -> None:
        super().__init__(msg_type, msg_payload)
        self._sender_id = sender_id

    @property
    def sender_id(self) -> str:
        """The id of the listener that sent the message."""
        return self._sender_id


class UniqueMessage(MessageContract):
    """
    A message with an id, which has the type and payload of another message.

    Its id is `message_id`, or a new uuid4 as text if that is not given.
    """

    def __init__(
        self,
        message: MessageContract,
        sender_id: str | None = None,
        message_id: str | None = None,
    ) -> None:
        self._message = message
        self._sender_id = sender_id
        self._id = message_id or str(uuid4())

    @property
    def id(self) -> str:
        """The unique id of this message."""
        return self._id

    @property
    def type(self) -> str:
        return self._message.type

    @property
    def sender_id(self) -> str | None:
        """The id of the listener that sent the message, None if it is not signed."""
        return self._sender_id

    @property
    def payload(self) -> Any:
        return self._message.payload
