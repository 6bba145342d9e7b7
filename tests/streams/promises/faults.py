"""What goes wrong in a run: a hook fails, a thread hangs."""

from __future__ import annotations

from typing import Any

from eric_sse_django.entry import Encode, Entry


class Faults:
    """`hook`: no message can be encoded. `hangs`: how the next calls of a thread hang."""

    def __init__(self) -> None:
        self._wrapped: dict[Encode, Encode] = {}
        self.reset()

    def reset(self) -> None:
        self.hook = False
        self.hangs: list[str] = []
        self._wrapped.clear()

    def encode(self, encode: Encode) -> Encode:
        """Return what encodes as `encode` does, and fails while `hook` is set; one for each."""

        def failing(entry: Entry) -> Any:
            if self.hook:
                raise ZeroDivisionError
            return encode(entry)

        return self._wrapped.setdefault(encode, failing)


faults = Faults()
