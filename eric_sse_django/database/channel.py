"""The durable channel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from asgiref.sync import sync_to_async

from eric_sse_django.connection import Connection
from eric_sse_django.database.listener import DatabaseListener
from eric_sse_django.database.sync_channel import SyncDatabaseChannel
from eric_sse_django.database.twins import methods_have_twins
from eric_sse_django.listener import MessageQueueListener
from eric_sse_django.message import MessageContract

Self = TypeVar("Self", bound="DatabaseChannel")


@methods_have_twins
class DatabaseChannel(SyncDatabaseChannel):
    """
    A channel whose listeners and messages are in the database, for all processes.

    Get one by create(), load() or get_or_create(). A message is kept if and only if the
    caller's transaction commits. Database errors are Django's own.

    Every method that touches the database has an async twin with the prefix `a`, which
    does the same on the thread where Django's async code has its connections.
    """

    @classmethod
    async def acreate(cls: type[Self], channel_id: str | None = None, **options: Any) -> Self:
        """As create()."""
        return await sync_to_async(cls.create)(channel_id, **options)

    @classmethod
    async def aload(cls: type[Self], channel_id: str) -> Self:
        """As load()."""
        return await sync_to_async(cls.load)(channel_id)

    @classmethod
    async def aget_or_create(cls: type[Self], channel_id: str, **options: Any) -> Self:
        """As get_or_create()."""
        return await sync_to_async(cls.get_or_create)(channel_id, **options)

    async def aadd_listener(
        self,
        owner: Any = None,
        listener_id: str | None = None,
        *,
        acknowledgement: str | None = None,
    ) -> DatabaseListener:
        """As add_listener()."""
        add = sync_to_async(self.add_listener)
        return await add(owner, listener_id, acknowledgement=acknowledgement)

    async def aregister_listener(self, listener: MessageQueueListener) -> None:
        """As register_listener()."""
        await sync_to_async(self.register_listener)(listener)

    async def aregister_connection(self, connection: Connection) -> None:
        """As register_connection()."""
        await sync_to_async(self.register_connection)(connection)

    async def aget_connections(self) -> list[Connection]:
        """As get_connections(). Read at once: what it returns is in memory."""
        return await sync_to_async(lambda: list(self.get_connections()))()

    async def aget_listener(self, listener_id: str) -> MessageQueueListener:
        """As get_listener()."""
        return await sync_to_async(self.get_listener)(listener_id)

    async def aremove_listener(self, listener_id: str) -> None:
        """As remove_listener()."""
        await sync_to_async(self.remove_listener)(listener_id)

    async def aacknowledge(self, listener_id: str, position: int) -> int:
        """As acknowledge()."""
        return await sync_to_async(self.acknowledge)(listener_id, position)

    async def aonline(self) -> list[DatabaseListener]:
        """As online()."""
        return await sync_to_async(self.online)()

    async def adispatch(
        self, listener_id: str, msg: MessageContract, *, expires_in_s: float | None = None
    ) -> None:
        """As dispatch()."""
        await sync_to_async(self.dispatch)(listener_id, msg, expires_in_s=expires_in_s)

    async def adispatch_to_owner(
        self, user: Any, msg: MessageContract, *, expires_in_s: float | None = None
    ) -> None:
        """As dispatch_to_owner()."""
        await sync_to_async(self.dispatch_to_owner)(user, msg, expires_in_s=expires_in_s)

    async def abroadcast(self, msg: MessageContract, *, expires_in_s: float | None = None) -> None:
        """As broadcast()."""
        await sync_to_async(self.broadcast)(msg, expires_in_s=expires_in_s)

    async def abroadcast_many(
        self, msgs: Iterable[MessageContract], *, expires_in_s: float | None = None
    ) -> None:
        """As broadcast_many()."""
        await sync_to_async(self.broadcast_many)(msgs, expires_in_s=expires_in_s)

    async def adeliver_next(self, listener_id: str) -> MessageContract:
        """As deliver_next()."""
        return await sync_to_async(self.deliver_next)(listener_id)
