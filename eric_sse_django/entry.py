"""A message in its place in the log."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeAlias

from eric_sse_django.exception import EncodingFailed

RESERVED_PREFIX = "eric-"
RESET = "eric-reset"
# To a listener's open streams: end, for it was stopped; end, but come back; go back to
# the position in the payload.
STOP = "eric-stop"
CLOSE = "eric-close"
REPLAY = "eric-replay"
# To all hubs: end the streams of the subjects in the payload. It is in no channel.
REVOKE = "eric-revoke"
NO_CHANNEL = -1  # not 0, which MariaDB gives out as the next number
CONTROLS = frozenset({STOP, CLOSE, REPLAY, REVOKE})

# What makes an entry's bytes on the wire.
Encode: TypeAlias = "Callable[[Entry], bytes]"


class Entry:
    """
    A position and the message there, as read from the log. Shared by all streams.

    `payload` is JSON text. `expires_at` is when its lifetime ends (as time.time() has it),
    None for one that has none. `time_of` makes a datetime of the `created_at` that the driver
    gave: half of the time of a read was spent on those, which next to nobody asks for.
    `addressed(...)` tells whom it is for. `frame(encode)` is its bytes on the wire, made once.
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
        self._frame: bytes | None = None
        self._named_frame: bytes | None = None
        self._encode: Encode | None = None
        self._encode_named: Encode | None = None

    @classmethod
    def reset(cls, channel: int, listener: int | None, after: int, floor: int) -> Entry:
        """Return the entry that says: messages between `after` and `floor` were removed."""
        lost = json.dumps({"after": after, "floor": floor})
        return cls(floor, channel, listener, None, RESET, lost)

    @property
    def created_at(self) -> datetime | None:
        """When it was published, None where that is not known."""
        return None if self._time_of is None else self._time_of(self._created_at)

    @property
    def stamp(self) -> Any:
        """When it was published, as the driver gave it; to be compared."""
        return self._created_at

    @property
    def is_broadcast(self) -> bool:
        return self.listener is None and self.owner is None

    @property
    def size(self) -> int:
        """Characters of type and payload: near enough to its bytes to bound memory with."""
        return len(self.payload) + len(self.type)

    def age_s(self, now: float) -> float:
        """Return the seconds from its publishing to `now` (time.time()), 0 if unknown."""
        created_at = self.created_at
        return 0.0 if created_at is None else now - created_at.timestamp()

    def is_expired(self, now: float) -> bool:
        """Whether its lifetime is over at `now` (time.time()): then nobody gets it any more."""
        return self.expires_at is not None and self.expires_at <= now

    def addressed(self, listener: int | None, owner: Any) -> bool:
        """Whether a listener (by key, with its owner's key) is one this message is for."""
        if self.listener is not None:
            return self.listener == listener
        return self.owner is None or self.owner == owner

    @property
    def is_framed(self) -> bool:
        """Whether some bytes were made of it."""
        return self._frame is not None or self._named_frame is not None

    def frame(self, encode: Encode) -> bytes:
        """
        Return the bytes that `encode` makes of it; kept, and made anew for another `encode`.

        Raises EncodingFailed, whatever was raised, and for what is not bytes.
        """
        if self._frame is None or self._encode != encode:
            self._frame, self._encode = self._made(encode), encode
        return self._frame

    def named_frame(self, encode: Encode) -> bytes:
        """As frame(), for streams of several channels, whose `encode` names the channel."""
        if self._named_frame is None or self._encode_named != encode:
            self._named_frame, self._encode_named = self._made(encode), encode
        return self._named_frame

    def _made(self, encode: Encode) -> bytes:
        try:
            frame = encode(self)
            if type(frame) is not bytes:
                raise TypeError(f"encode() gave {type(frame).__name__}, not bytes")
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a CancelledError too: it would end the hub's task
            raise EncodingFailed(self.channel, self.position) from error
        return frame
