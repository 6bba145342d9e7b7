"""Starting a run: its listener and its row, in one transaction."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from django.db import IntegrityError, transaction

from eric_sse_django import conf, log
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.database.arguments import channel_id_of, owner_key
from eric_sse_django.database.rows import check_room, owned_by
from eric_sse_django.database.twins import has_twin, twin_of_function
from eric_sse_django.exception import InvalidIdentifier
from eric_sse_django.models import Channel, Listener, could_be_id
from eric_sse_django.runs import storable
from eric_sse_django.runs.models import TITLE_MAX_LENGTH, Run, digest_of


@has_twin
def start(
    owner: Any = None,
    kind: str = "",
    *,
    title: str = "",
    thread: str = "",
    meta: dict[str, Any] | None = None,
    key: str | None = None,
    channel: Any = None,
) -> Run:
    """
    Return a new run, which waits for its producer; with a `key`, the run that has it.

    The sessions of the `owner` (a user, or the user's key) may read it. `kind`, `title`, `thread`
    and `meta` are the caller's; a title is cut after 255 characters. `channel` is RUNS_CHANNEL if
    none is given, and is created if it does not exist. It is kept if and only if the caller's
    transaction commits.

    Raises InvalidIdentifier for the key of a run of another owner, TooManyListeners, ValueError
    for an owner that is not saved, and TypeError.
    """
    return start_or_get(
        owner, kind, title=title, thread=thread, meta=meta, key=key, channel=channel
    )[0]


astart = twin_of_function(start)


@has_twin
def get(run_id: str, owner: Any = None) -> Run:
    """
    Return the run with an id; with an `owner` only if it is the run's. One query.

    Raises Run.DoesNotExist.
    """
    if not could_be_id(run_id):
        raise Run.DoesNotExist(f"{run_id!r} is not the id of a run.")
    rows = Run.objects.filter(name=run_id)
    if owner is not None:
        rows = rows.filter(listener__owner=owner_key(owner))
    run = rows.first()
    # Compared again: MariaDB's usual collations ignore the case.
    if run is None or run.id != run_id:
        raise Run.DoesNotExist(f"There is no run {run_id!r}.")
    return run


aget = twin_of_function(get)


def start_or_get(
    owner: Any = None,
    kind: str = "",
    *,
    title: str = "",
    thread: str = "",
    meta: dict[str, Any] | None = None,
    key: str | None = None,
    channel: Any = None,
) -> tuple[Run, bool]:
    """As start(); return also whether the run is new."""
    user = None if owner is None else owner_key(owner)
    digest = None if key is None else digest_of(key)
    if digest is not None and (found := _of_key(digest, key, user)) is not None:
        return found, False
    name = channel_id_of(conf.get("RUNS_CHANNEL") if channel is None else channel)
    row = DatabaseChannel.get_or_create(name).row
    check_room(row, "")
    owned = owned_by(owner, user)
    fields = {
        "kind": kind,
        "title": _shown(title),
        "thread": thread,
        "meta": meta or {},
        "key": digest,
    }
    try:
        # A savepoint, so that the caller's transaction survives.
        with transaction.atomic(using=log.database()):
            return _insert(row, owned, fields), True
    except IntegrityError:
        found = None if digest is None else _of_key(digest, key, user)
        if found is None:
            raise
        return found, False


def _shown(title: str) -> str:
    """Return a title as its column holds it: mostly what a user has written, of any length."""
    found = storable.text(str(title))
    return found if len(found) <= TITLE_MAX_LENGTH else f"{found[: TITLE_MAX_LENGTH - 1]}…"


def _of_key(digest: str, key: str | None, user: Any) -> Run | None:
    found = Run.objects.filter(key=digest).first()
    if found is not None and found.owner_id != user:
        raise InvalidIdentifier(key, "It is the key of a run of another owner.")
    return found


def _insert(channel: Channel, owned: dict[str, Any], fields: dict[str, Any]) -> Run:
    # No settle(), as for other listeners: what a run has is dispatched to it later.
    position, _ = log.head()
    name = str(uuid4())
    listener = Listener(
        channel=channel,
        name=name,
        running=True,
        acknowledgement=Listener.Acknowledgement.CLIENT,
        start=position,
        cursor=position,
        **owned,
    )
    listener.save(force_insert=True)
    run = Run(listener=listener, name=name, **fields)
    run.clean_fields(exclude=["listener"])
    run.save(force_insert=True)
    return run
