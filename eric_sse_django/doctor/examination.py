"""The whole examination, part by part; one that fails does not keep the others from theirs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

from eric_sse_django.doctor import clocks, databases, fabric, logged, project, replica, streams
from eric_sse_django.doctor.finding import Finding, error, note

logger = logging.getLogger(__name__)


def examine(
    url: str | None = None, *, waits: bool = True, insecure: bool = False
) -> Iterator[Finding]:
    """
    Yield what is found, as it is found.

    With the `url` of the site, a stream is opened through it, on a channel that exists for that
    time only. It `waits` for a heartbeat, unless that is false. `insecure` accepts any
    certificate.
    """
    yield from _part("settings", project.examine)
    reaches = True
    for found in _part("database", databases.examine):
        reaches = reaches and found.id not in databases.WITHOUT_LOG
        yield found
    yield from _part("fabric", fabric.examine)
    if not reaches:
        return
    yield from _part("log", logged.examine)
    yield from _part("replica", replica.examine)
    yield from _part("clocks", clocks.examine)
    if url is None:
        yield note(
            "stream.not_examined",
            "No stream was opened: the doctor does not know the address of the site.",
            "Give it: --url https://www.example.com",
        )
    else:
        visit = streams.Visit(url, waits=waits, insecure=insecure)
        yield from _part("stream", visit.examine)


def _part(name: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except Exception as failed:
        logger.debug("the doctor failed part=%s", name, exc_info=True)
        yield error(
            f"{name}.not_examined",
            f"The examination failed: {type(failed).__name__}: {failed}",
            "Fix this first; if it is not a problem of the project, report it.",
        )
