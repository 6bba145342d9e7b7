"""Where the streams of runs are, below the prefix of all streams."""

from __future__ import annotations

from eric_sse_django import stream_urls

# The first part of their paths, as the channel's id is that of others.
PATH = "runs"


def path_of(run_id: str) -> str:
    """Return the path of a run's plain stream; the other doors are below it."""
    return stream_urls.path_of(PATH, run_id)
