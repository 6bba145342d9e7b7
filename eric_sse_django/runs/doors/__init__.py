"""
Doors: how clients that exist read runs, each in its own format.

A door is a stream of the run's listener with another encoder: admission, heartbeats, deadlines,
limits and revocation are those of every stream. Below the streams' prefix a run's plain door is
`runs/<id>/`, and another one `runs/<id>/<name>/`. Views hand over to them: see handing_over.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from eric_sse_django.runs.paths import PATH

if TYPE_CHECKING:
    from eric_sse_django.runs.doors.door import Door

# The doors' classes, by the last part of their paths.
DOORS = {
    "": "plain.Plain",
    "ai-sdk": "ai_sdk.AiSdk",
    "workflow": "workflow.Workflow",
    "ag-ui": "ag_ui.AgUi",
}
__all__ = ["DOORS", "MODULES", "PATH", "application", "door_class"]
# What a project imports; here, so that this package needs no models.
MODULES = frozenset({"ag_ui", "ai_sdk", "celery_progress", "relaying", "ui_message", "workflow"})


def application(channel: str, rest: str, handed_over: list[tuple[bytes, bytes]]) -> Any:
    """
    Return the application for "<id>/" or "<id>/<door>/", None for another path.

    `channel` is the part before: a listener of that channel which is no run is served, too.
    """
    run_id, _, name = rest.partition("/")
    name = name.removesuffix("/")
    if not run_id or not rest.endswith("/") or name not in DOORS:
        return None
    from eric_sse_django.runs.doors.consumer import RunConsumer  # noqa: PLC0415 - needs models

    return RunConsumer((channel, run_id), door_class(name), handed_over)


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.{name}")


@cache
def door_class(name: str) -> type[Door]:
    module, _, found = DOORS[name].partition(".")
    kind: type[Door] = getattr(import_module(f"{__name__}.{module}"), found)
    return kind
