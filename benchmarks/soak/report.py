"""The samples as a Markdown table of some minutes each, and as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from benchmarks.picture import pyplot, save, tidy
from benchmarks.soak.sample import Sample
from benchmarks.tally import Wrong

# Lines of the table at most.
PARTS = 6
HEAD = (
    "| minutes | MiB | % of a core: server | PostgreSQL | deliveries/s | p50, ms | p99, ms "
    "| lost, repeated, disordered |\n"
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
)
# A panel: its title, and what of a sample it shows.
PANELS: Mapping[str, Mapping[str, str]] = {
    "MiB of the server": {"mib": "#0b7a75"},
    "% of a core: server, PostgreSQL (grey)": {
        "server_percent": "#0b7a75",
        "database_percent": "#9aa5b1",
    },
    "p50, p99 (orange), ms": {"p50_ms": "#0b7a75", "p99_ms": "#d55e00"},
}


def table(samples: Sequence[Sample]) -> str:
    """Return the medians of each part of the time, as Markdown."""
    size = -(-len(samples) // PARTS)
    parts = [samples[index : index + size] for index in range(0, len(samples), size)]
    begins = [0.0, *(part[-1].at_s for part in parts)]
    lines = [_line(begin, part) for begin, part in zip(begins, parts, strict=False)]
    return "\n".join([HEAD, *lines])


def growth_mib(samples: Sequence[Sample]) -> float:
    """Return how much more memory the last quarter has than the second one, in MiB."""
    quarter = len(samples) // 4
    if not quarter:
        return 0.0
    second, last = samples[quarter : 2 * quarter], samples[-quarter:]
    return median(each.mib for each in last) - median(each.mib for each in second)


def draw(samples: Sequence[Sample], path: Path) -> Path:
    """Write an SVG or PNG, by the path's suffix. Raises ImportError without matplotlib."""
    figure, grid = pyplot().subplots(1, len(PANELS), figsize=(13, 3.2))
    minutes = [sample.at_s / 60 for sample in samples]
    for axes, (title, lines) in zip(grid, PANELS.items(), strict=True):
        for name, color in lines.items():
            values = [getattr(sample, name) for sample in samples]
            axes.plot(minutes, values, color=color, linewidth=1.2)
        axes.set_title(title, fontsize=9, loc="left")
        axes.set_xlabel("minutes")
        axes.set_ylim(0, axes.get_ylim()[1] * 1.1)
        tidy(axes)
    return save(figure, path)


def _line(begin_s: float, part: Sequence[Sample]) -> str:
    wrong = sum((sample.wrong for sample in part), Wrong())
    digits = {"mib": 1, "server_percent": 1, "database_percent": 1, "deliveries_per_s": 0}
    digits |= {"p50_ms": 1, "p99_ms": 1}
    cells = [f"{begin_s / 60:.1f}–{part[-1].at_s / 60:.1f}"]
    for name, many in digits.items():
        cells.append(f"{median(getattr(sample, name) for sample in part):,.{many}f}")
    cells.append(f"{wrong.lost:,}, {wrong.repeated:,}, {wrong.disordered:,}")
    return f"| {' | '.join(cells)} |"
