"""All works in one picture: the first measure of each, subject by subject."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.picture import pyplot, save
from benchmarks.report import number, wrong_of
from benchmarks.result import Results, Row
from benchmarks.subject import BARE, JOINING, OURS

COLORS = {BARE: "#9aa5b1", JOINING: "#6b7783", OURS: "#0b7a75"}
RIVAL = "#d9a441"
# Inches: the width of a panel, the space around its bars, and the height of a bar.
WIDTH, AROUND, BAR = 7.2, 0.9, 0.3


def draw(results: Results, path: Path) -> Path | None:
    """Write an SVG or PNG, by the path's suffix; return its path, None without matplotlib."""
    try:
        plots = pyplot()
    except ImportError:
        results.skip("plots", "matplotlib is not installed: pip install -e '.[bench]'")
        return None
    # A single bar compares nothing.
    panels = [rows for work in results.works if len(rows := _first(results, work)) > 1]
    pairs = [panels[index : index + 2] for index in range(0, len(panels), 2)]
    if not pairs:
        return None
    heights = [AROUND + BAR * max(len(rows) for rows in pair) for pair in pairs]
    figure, grid = plots.subplots(
        *(len(pairs), 2),
        figsize=(2 * WIDTH, sum(heights)),
        height_ratios=heights,
        squeeze=False,
    )
    for pair, places in zip(pairs, grid, strict=True):
        for rows, axes in zip(pair, places, strict=False):
            _draw(rows, axes)
        for axes in places[len(pair) :]:
            axes.set_visible(False)
    return save(figure, path)


def _first(results: Results, work: Any) -> list[Row]:
    return [row for row in results.rows(work) if row.measure is work.measures[0]]


def _draw(rows: Sequence[Row], axes: Any) -> None:
    values = [row.figure for row in rows]
    spans = [
        [row.figure - min(row.rounds) for row in rows],
        [max(row.rounds) - row.figure for row in rows],
    ]
    colors = [COLORS.get(row.subject.name, RIVAL) for row in rows]
    labels = [str(row.subject) for row in rows]
    bars = axes.barh(labels, values, xerr=spans, color=colors, ecolor="#444444", height=0.7)
    axes.bar_label(bars, [f"  {_label(row)}" for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.35)
    axes.set_xlim(left=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"{rows[0].work.title}: {rows[0].measure.name}", fontsize=9, loc="left")


def _label(row: Row) -> str:
    wrong = wrong_of(row)
    return number(row.figure, row.measure.digits) + (f", {wrong}" if wrong else "")
