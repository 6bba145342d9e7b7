"""The points as a Markdown table, and as a picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from benchmarks.picture import pyplot, save, tidy
from benchmarks.streams.point import Point

HEAD = (
    "| | streams | KiB each | opened/s | idle: % of a core, server; PostgreSQL "
    "| {}: % of a core, server; PostgreSQL | p50, ms | p99, ms |\n"
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
)
# A panel: its title, and what of a point it shows.
PANELS: Mapping[str, str] = {
    "KiB for each stream": "kib",
    "% of a core, idle": "idle_percent",
    "% of a core, 1 message a second": "paced_percent",
    "p99, ms": "p99_ms",
}
# Colors that color-blind people can distinguish.
COLORS = ("#9aa5b1", "#0b7a75", "#d55e00", "#56b4e9", "#cc79a7")


def table(points: Iterable[Point], pace: str) -> str:
    """Return the table as Markdown; `pace` names how often all get a message."""
    return "\n".join([HEAD.format(pace), *map(_line, points)])


def _line(point: Point) -> str:
    cells = [point.subject, f"{point.streams:,}", f"{point.kib:.1f}", f"{point.opened_per_s:,.0f}"]
    cells += [
        f"{server:.2f}" + (f"; {database:.2f}" if database else "")
        for server, database in (
            (point.idle_percent, point.idle_database_percent),
            (point.paced_percent, point.paced_database_percent),
        )
    ]
    cells += [f"{point.p50_ms:.1f}", f"{point.p99_ms:.1f}"]
    return f"| {' | '.join(cells)} |"


def draw(points: Sequence[Point], path: Path) -> Path:
    """Write an SVG or PNG, by the path's suffix. Raises ImportError without matplotlib."""
    figure, grid = pyplot().subplots(1, len(PANELS), figsize=(13, 3.4))
    sizes = sorted({point.streams for point in points})
    by_subject = groupby(points, attrgetter("subject"))
    for color, (subject, its_points) in zip(COLORS, by_subject, strict=False):
        found = list(its_points)
        streams = [point.streams for point in found]
        for axes, name in zip(grid, PANELS.values(), strict=True):
            values = [getattr(point, name) for point in found]
            axes.plot(streams, values, color=color, marker="o", markersize=4, label=subject)
    for axes, title in zip(grid, PANELS, strict=True):
        axes.set_title(title, fontsize=9, loc="left")
        axes.set_xscale("log")
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes], fontsize=8)
        axes.minorticks_off()
        axes.set_xlabel("open streams of one process")
        axes.set_ylim(bottom=0)
        tidy(axes)
    grid[0].legend(frameon=False, fontsize=8)
    return save(figure, path)
