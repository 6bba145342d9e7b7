"""Code of a project's own that fails on demand: it raises, hangs, or returns nonsense."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from channels.layers import BaseChannelLayer
from django.contrib.sessions.backends import db

from eric_sse_django.authorization import Authorizer
from eric_sse_django.database import DatabaseChannel

# The channel whose messages, streams and clients meet the hooks; all others do not.
BAD = "bad"


class Nonsense:
    """What no hook is to return."""

    def __bool__(self) -> bool:
        return True


class Hook:
    """What happens at a hook: `mode` is "raise", "exit", "hang", "nonsense", None for nothing."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.mode: str | None = None
        self.released = threading.Event()
        self.reached = threading.Event()

    def __call__(self, usual: Any = None) -> Any:
        """Do what is set in `mode`; without it return `usual`."""
        if self.mode is None:
            return usual
        self.reached.set()
        if self.mode in ("raise", "exit"):
            raise (ArithmeticError if self.mode == "raise" else SystemExit)("the hook")
        if self.mode == "hang":
            assert self.released.wait(60)
            return usual
        return Nonsense()

    async def coroutine(self, usual: Any = None) -> Any:
        """The same, where it is awaited."""
        if self.mode != "hang":
            return self(usual)
        self.reached.set()
        while not self.released.is_set():
            await asyncio.sleep(0.01)
        return usual


hook = Hook()


class Adapting(DatabaseChannel):
    def adapt(self, msg: Any) -> Any:
        usual = super().adapt(msg)
        return hook(usual) if self.row.name == BAD else usual


class Encoding(DatabaseChannel):
    def encode(self, entry: Any, named: bool = False) -> bytes:
        usual = super().encode(entry, named)
        return hook(usual) if self.row.name == BAD else usual


class Making(DatabaseChannel):
    def __init__(self, row: Any, *args: Any) -> None:
        super().__init__(row, *args)
        if row.name == BAD:
            hook()


class Watching(Authorizer):
    def can_watch(self, user: Any, channel: Any) -> Any:
        return hook(True) if channel.name == BAD else True


class WatchingLater(Authorizer):
    def can_watch(self, user: Any, channel: Any) -> Any:
        return hook.coroutine(True) if channel.name == BAD else True


class Listening(Authorizer):
    def can_listen(self, user: Any, channel: Any, listener: Any) -> Any:
        return hook(True)


class Built(Authorizer):
    def __init__(self) -> None:
        hook()


def __getattr__(name: str) -> Any:
    """Import the class "Imported" as a module does that takes its time, or fails."""
    if name != "Imported":
        raise AttributeError(name)
    return hook(Authorizer)


class SessionStore(db.SessionStore):
    def load(self) -> Any:
        return hook({})


class User:
    """What a middleware of the project's may have put into the scope."""

    pk = 1

    @property
    def is_authenticated(self) -> Any:
        return hook(True)


class Layer(BaseChannelLayer):
    extensions = ("groups",)

    async def new_channel(self, prefix: str = "specific") -> Any:
        return await hook.coroutine(f"{prefix}!x")

    async def group_add(self, group: str, channel: str) -> None:
        await hook.coroutine()

    async def group_send(self, group: str, message: Any) -> None:
        await hook.coroutine()

    async def send(self, channel: str, message: Any) -> None:
        await hook.coroutine()

    async def receive(self, channel: str) -> Any:
        if hook.mode is None:
            await asyncio.Event().wait()
        return await hook.coroutine({"type": "eric.wake"})

    async def close(self) -> None:
        await hook.coroutine()


def on_saved(sender: Any, **_: Any) -> None:
    """A receiver of post_save for all models, as audit logs have."""
    if sender.__name__ in ("ServerProcess", "OpenStream"):
        hook()
