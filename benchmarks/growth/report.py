"""The results as Markdown, as JSON, and as a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.growth import plot
from benchmarks.growth.figures import Cost, Trim, table
from benchmarks.growth.sizes import Size

Costs = Mapping[str, Mapping[Size, Cost]]


def markdown(costs: Costs, sizes: Mapping[str, float], trims: Sequence[Trim]) -> str:
    """Return the whole report."""
    bytes_a_row = ", ".join(f"{name} {size:.0f}" for name, size in sizes.items())
    total = sum(sizes.values())
    lines = [table(costs), "", f"Bytes a row: {total:.0f} ({bytes_a_row})."]
    return "\n".join([*lines, *(f"\n{trim.sentence()}." for trim in trims)])


def write(folder: Path, costs: Costs, sizes: Mapping[str, float], trims: Sequence[Trim]) -> None:
    """Write growth.md, growth.json and (with matplotlib) growth.svg there."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "growth.md").write_text(markdown(costs, sizes, trims) + "\n")
    found = {
        "costs": {
            what: [
                {
                    "rows": size.rows,
                    "listeners": size.listeners,
                    "ms": cost.ms(),
                    "ms_empty": cost.ms_empty(),
                    "ratio": cost.ratio(),
                }
                for size, cost in by_size.items()
            ]
            for what, by_size in costs.items()
        },
        "bytes_per_row": sizes,
        "trims": [{"how": trim.how, "p99_delay_ms": trim.delay_ms()} for trim in trims],
    }
    (folder / "growth.json").write_text(json.dumps(found, indent=1) + "\n")
    try:
        plot.draw(costs, folder / "growth.svg")
    except ImportError as error:
        print(f"No picture: {error} (pip install -e '.[bench]').")
