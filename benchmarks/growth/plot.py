"""Cost against size, as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmarks.growth.figures import FLAT, Cost, quietest_ms
from benchmarks.growth.sizes import Size
from benchmarks.picture import pyplot, save, tidy

# The order of the legend; colors that color-blind people can distinguish.
COLORS = ("#0072b2", "#56b4e9", "#009e73", "#d55e00", "#cc79a7", "#e69f00", "#555555")


def draw(costs: Mapping[str, Mapping[Size, Cost]], path: Path) -> None:
    """Write an SVG or PNG, by the path's suffix. Raises ImportError without matplotlib."""
    figure, (left, right) = pyplot(font_size=10).subplots(1, 2, figsize=(10, 4.2))
    sizes = list(next(iter(costs.values())))
    places = range(len(sizes))
    for color, (what, by_size) in zip(COLORS, costs.items(), strict=False):
        style = {"color": color, "marker": "o", "markersize": 4, "label": what}
        ratios, empty_ms = [by_size[size].ratio() for size in sizes], quietest_ms(by_size)
        left.plot(places, [empty_ms * ratio for ratio in ratios], **style)
        right.plot(places, ratios, **style)
    left.set_ylabel("ms of an empty log, times the ratio")
    left.set_ylim(bottom=0)
    right.set_ylabel("ratio to an empty log")
    right.set_ylim(0, max(2.0, right.get_ylim()[1]))
    right.axhline(FLAT, color="#999999", linewidth=1, linestyle=":")
    right.annotate(f"{FLAT} x", (0, FLAT), (0, 3), textcoords="offset points", color="#777777")
    for axes in (left, right):
        axes.set_xticks(places, [f"{_short(s.rows)}\n{_short(s.listeners)}" for s in sizes])
        axes.set_xlabel("messages stored / listeners offline")
        tidy(axes)
    left.legend(frameon=False, fontsize=9, ncols=2, loc="upper left")
    left.set_ylim(top=left.get_ylim()[1] * 1.4)
    save(figure, path)


def _short(number: int) -> str:
    for unit, name in ((1_000_000, " M"), (1_000, " k")):
        if number >= unit:
            return f"{number / unit:g}{name}"
    return str(number)
