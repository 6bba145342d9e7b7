"""An entry: a message at its position in the log."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeAlias

from eric_sse_django.exception import EncodingFailed

RESERVED_PREFIX = "eric-"
RESET = "eric-reset"
# Control messages to a listener's open streams: end (the listener was stopped); end (clients
# reconnect); move back to the position in the payload.
STOP = "eric-stop"
CLOSE = "eric-close"
REPLAY = "eric-replay"
# A notice to all hubs: end the streams of the subjects in the payload. It is in no channel.
REVOKE = "eric-revoke"
NO_CHANNEL = -1  # not 0: MariaDB replaces it by the next number
CONTROLS = frozenset({STOP, CLOSE, REPLAY, REVOKE})

# Returns the frame of an entry.
Encode: TypeAlias = "Callable[[Entry], bytes]"


class Addressed:
    """A channel's message to all (without both keys), to one listener, or to one owner."""

    __slots__ = ()

    channel: int
    listener: int | None
    owner: Any

    @property
    def is_broadcast(self) -> bool:
        """Whether it is addressed to all."""
        return self.listener is None and self.owner is None

    def addressed(self, listener: int | None, owner: Any) -> bool:
        """Whether a listener (its key and its owner's key) is a recipient."""
        if self.listener is not None:
            return self.listener == listener
        return self.owner is None or self.owner == owner


class Entry(Addressed):
    """
    A position and the message there, as read from the log. Shared by all streams.

    `payload` is JSON text. `size` is the characters of type and payload: close enough to its
    bytes in memory to limit them. `expires_at` is the end of its lifetime (as time.time()), None
    if it has none. `time_of` converts the driver's `created_at` to a datetime when it is needed,
    which is rare: for all entries it took half of the time of a read. `addressed(...)` matches
    its recipients. `frame(encode)` is the bytes of its event, built once.
    """

    __slots__ = (
        "_created_at",
        "_encode",
        "_encode_named",
        "_frame",
        "_named_frame",
        "_time_of",
        "channel",
        "expires_at",
        "listener",
        "owner",
        "payload",
        "position",
        "sender",
        "size",
        "type",
        "uid",
    )

    def __init__(
        self,
        position: int,
        channel: int,
        listener: int | None,
        owner: Any,
        type: str,
        payload: str,
        sender: str | None = None,
        uid: str | None = None,
        created_at: Any = None,
        expires_at: float | None = None,
        time_of: Callable[[Any], datetime] | None = None,
    ) -> None:
        self.position = position
        self.channel = channel
        self.listener = listener
        self.owner = owner
        self.type = type
        self.payload = payload
        self.sender = sender
        self.uid = uid
        self._created_at = created_at
        self._time_of = time_of
        self.expires_at = expires_at
        self.size = len(payload) + len(type)
        self._frame: bytes | None = None
        self._named_frame: bytes | None = None
        self._encode: Encode | None = None
        self._encode_named: Encode | None = None

    @classmethod
    def reset(cls, channel: int, listener: int | None, after: int, floor: int) -> Entry:
        """Return an `eric-reset`: messages between `after` and `floor` were removed."""
        lost = json.dumps({"after": after, "floor": floor})
        return cls(floor, channel, listener, None, RESET, lost)

    @property
    def created_at(self) -> datetime | None:
        """When it was published, None if that is unknown."""
        return None if self._time_of is None else self._time_of(self._created_at)

    @property
    def stamp(self) -> Any:
        """When it was published, as the driver returned it: for comparisons only."""
        return self._created_at

    def age_s(self, now: float) -> float:
        """Return the seconds from publishing to `now` (time.time()), 0 if unknown."""
        if self._time_of is None:
            return 0.0
        return now - self._time_of(self._created_at).timestamp()

    def is_expired(self, now: float) -> bool:
        """Whether its lifetime has ended at `now` (time.time()): it is no longer delivered."""
        return self.expires_at is not None and self.expires_at <= now

    @property
    def is_framed(self) -> bool:
        """Whether it was encoded."""
        return self._frame is not None or self._named_frame is not None

    def frame(self, encode: Encode) -> bytes:
        """
        Return the bytes that `encode` returns for it; kept until another `encode` is given.

        Raises EncodingFailed for every exception, and for a value that is not bytes.
        """
        if self._frame is None or self._encode != encode:
            self._frame, self._encode = self._encoded(encode), encode
        return self._frame

    def named_frame(self, encode: Encode) -> bytes:
        """As frame(), for streams of several channels, whose `encode` names the channel."""
        if self._named_frame is None or self._encode_named != encode:
            self._named_frame, self._encode_named = self._encoded(encode), encode
        return self._named_frame

    def _encoded(self, encode: Encode) -> bytes:
        try:
            frame = encode(self)
            if type(frame) is not bytes:
                raise TypeError(f"encode() returned {type(frame).__name__}, not bytes")
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # also CancelledError, which would end the hub's task
            raise EncodingFailed(self.channel, self.position) from error
        return frame
