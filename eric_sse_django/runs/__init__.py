"""
Runs: work whose output outlives its request.

A run is a listener of a channel with a producer. Names are imported when they are used, so that
this package can be imported before Django's apps are ready.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eric_sse_django.runs.chunks import Chunk, chunks_of
    from eric_sse_django.runs.ending import afail, afinish, astop, fail, finish, stop
    from eric_sse_django.runs.exceptions import RunEnded, RunFailed, RunStopped, RunTaken
    from eric_sse_django.runs.following import afollow, follow
    from eric_sse_django.runs.models import Run
    from eric_sse_django.runs.producer import AsyncOut, Out, aproduce, produce
    from eric_sse_django.runs.reading import aread, read
    from eric_sse_django.runs.reaping import atake_over, reap, take_over
    from eric_sse_django.runs.starting import aget, astart, get, start
    from eric_sse_django.runs.tasks import aenqueue, enqueue, task
    from eric_sse_django.runs.upstream import aresume_upstream, resume_upstream

_MODULES = {
    "chunks": ("Chunk", "chunks_of"),
    "ending": ("afail", "afinish", "astop", "fail", "finish", "stop"),
    "exceptions": ("RunEnded", "RunFailed", "RunStopped", "RunTaken"),
    "following": ("afollow", "follow"),
    "models": ("Run",),
    "producer": ("AsyncOut", "Out", "aproduce", "produce"),
    "reading": ("aread", "read"),
    "reaping": ("atake_over", "reap", "take_over"),
    "starting": ("aget", "astart", "get", "start"),
    "tasks": ("aenqueue", "enqueue", "task"),
    "upstream": ("aresume_upstream", "resume_upstream"),
}
_PLACES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})


__all__ = [
    "AsyncOut",
    "Chunk",
    "Out",
    "Run",
    "RunEnded",
    "RunFailed",
    "RunStopped",
    "RunTaken",
    "aenqueue",
    "afail",
    "afinish",
    "afollow",
    "aget",
    "aproduce",
    "aread",
    "aresume_upstream",
    "astart",
    "astop",
    "atake_over",
    "chunks_of",
    "enqueue",
    "fail",
    "finish",
    "follow",
    "get",
    "produce",
    "read",
    "reap",
    "resume_upstream",
    "start",
    "stop",
    "take_over",
    "task",
]
