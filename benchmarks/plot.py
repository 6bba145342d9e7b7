"""One picture for each work: its first measure, subject by subject."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.report import number
from benchmarks.result import Results, Row
from benchmarks.subject import BARE, OURS

COLOURS = {BARE: "#9aa5b1", OURS: "#0b7a75"}
RIVAL = "#d9a441"


def draw(results: Results, folder: Path) -> list[Path]:
    """Write a PNG for each work with figures; return their paths, none without matplotlib."""
    try:
        import matplotlib  # noqa: PLC0415 - of the extra `bench`
    except ImportError:
        results.skip("plots", "matplotlib is not installed: pip install -e '.[bench]'")
        return []
    matplotlib.use("Agg")
    paths = []
    for work in results.works:
        rows = [row for row in results.rows(work) if row.measure is work.measures[0]]
        if rows:
            paths.append(folder / f"{work.name}.png")
            _draw(rows, paths[-1])
    return paths


def _draw(rows: list[Row], path: Path) -> None:
    from matplotlib import pyplot  # noqa: PLC0415 - as above

    figure, axes = pyplot.subplots(figsize=(8, 0.8 + 0.38 * len(rows)))
    values = [row.figure for row in rows]
    spans = [
        [row.figure - min(row.rounds) for row in rows],
        [max(row.rounds) - row.figure for row in rows],
    ]
    colours = [COLOURS.get(row.subject.name, RIVAL) for row in rows]
    labels = [str(row.subject) for row in rows]
    bars: Any = axes.barh(labels, values, xerr=spans, color=colours, ecolor="#444444")
    axes.bar_label(bars, [f"  {_label(row)}" for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"{rows[0].work.title}: {rows[0].measure.name}", fontsize=10, loc="left")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _label(row: Row) -> str:
    parts = [number(row.figure, row.measure.digits)]
    if row.wrong:
        wrong = row.wrong
        counts = {"lost": wrong.lost, "repeated": wrong.repeated, "disordered": wrong.disordered}
        parts += [f"{count:,} {what}" for what, count in counts.items() if count]
    return ", ".join(parts)
