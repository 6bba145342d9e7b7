"""A database that goes back, in the world of promises: to a backup, or emptied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eric_sse_django import log
from eric_sse_django.log.history import base_of
from eric_sse_django.log.limits import forget_counts
from eric_sse_django.models import LogHead, QueuedMessage
from tests.going_back import Backup
from tests.streams.promises.model import Listening, Published

if TYPE_CHECKING:
    from tests.streams.promises.serving import Client
    from tests.streams.promises.world import World

OF_A_MESSAGE = ("committed", "position", "removed", "over")
OF_A_LISTENER = ("running", "start", "popped")


@dataclass
class Before:
    """A world's database at one time, and the model of then."""

    backup: Backup
    messages: dict[int, tuple[Published, list[Any]]]
    listeners: list[tuple[Listening, list[Any]]]
    head: int
    ids: frozenset[int]  # of the rows of the log


def back_up(world: World) -> Before:
    """Return the present."""
    world.learn()
    model = world.model
    return Before(
        Backup(world.alias),
        {n: (m, [getattr(m, name) for name in OF_A_MESSAGE]) for n, m in model.messages.items()},
        [(each, [getattr(each, name) for name in OF_A_LISTENER]) for each in world.listeners],
        log.head()[0],
        frozenset(_rows(world).values_list("pk", flat=True)),
    )


def _rows(world: World) -> Any:
    return QueuedMessage.objects.using(world.alias)


def go_back(world: World, before: Before) -> bool:
    """
    Restore what was backed up; what clients have got since is not taken back.

    Returns whether the hub must notice: where it had not come further, nothing shows it.
    """
    _record_what_clients_got(world)
    at = 0 if world.hub is None else world.hub.follower.newest.position
    # Where the backup has no head, the next may be the hub's own place: see lose_the_log().
    is_shown = at > before.head and not (_is_base(at) and not before.head)
    # What waited for its position in the backup gets the same one again: then nothing differs.
    if _rows(world).filter(position=at, pk__in=before.ids).exists():
        is_shown = False
    before.backup.restore()
    forget_counts()
    model = world.model
    model.messages = {}
    for number, (message, values) in before.messages.items():
        model.messages[number] = message
        for name, value in zip(OF_A_MESSAGE, values, strict=True):
            setattr(message, name, value)
    model.log = {m.position: m for m in model.messages.values() if m.position}
    world.listeners = [listener for listener, _ in before.listeners]
    for listener, values in before.listeners:
        for name, value in zip(OF_A_LISTENER, values, strict=True):
            setattr(listener, name, value)
        listener.served = min(listener.served, before.head)
    return is_shown


def lose_the_log(world: World) -> bool:
    """Remove all messages with the log's head, as TRUNCATE does; listeners and channels stay."""
    _record_what_clients_got(world)
    for model in (QueuedMessage, LogHead):
        model.objects.using(world.alias).all().delete()
    forget_counts()
    world.model.messages, world.model.log = {}, {}
    # One that is where its history begins has seen nothing of it: of two that are lost in one
    # hour the second may have its number, and begins at its place.
    return world.hub is not None and not _is_base(world.hub.follower.newest.position)


def _is_base(position: int) -> bool:
    return position == base_of(position)


def _record_what_clients_got(world: World) -> None:
    """Look at what clients got: nothing of it can be looked up later, nor is it passed on."""
    world.learn()
    world.segments.clear()
    if world.hub is not None:
        world.hub.follower._segments.clear()
    for client in list(world.clients):
        world.settle_account(client, is_complete=False)
        if client.reader.stream.reason is None:
            client.until = None  # what would have ended it is gone as well, if no hub has read it
    world.model.forgotten |= world.model.log.keys()


def notice(world: World, must_end: bool) -> None:
    """Make the hub look: all streams end, and the clients reconnect with the ids they have."""
    before = list(world.clients)
    histories = world.hub and world.hub.counters.histories
    for client in before:
        client.reader.open.set()
    world.clients.clear()  # what they have got cannot be judged by the log of now
    world.look()
    if world.hub is None or world.hub.counters.histories == histories:
        assert not must_end, "the log has another history, and no hub noticed"
        world.clients.extend(client for client in before if _lives(world, client))
    for client in before:
        if client in world.clients:
            continue
        if world.hub is not None and client.reader.stream.reason is None:
            assert not _lives(world, client), f"{client.views} stay open"
        world.run(client.reader.__aexit__())
        places = [(view.channel, view.listener) for view in client.views]
        if _lives(world, client):
            world.connect(places, client.last_id)


def _lives(world: World, client: Client) -> bool:
    listeners = [view.listener for view in client.views if view.listener is not None]
    return all(each in world.listeners and each.running for each in listeners)
