"""A soak's samples as a picture, with matplotlib (extra `bench`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

TITLES = {
    "memory_mb": "memory of the server, MB",
    "tasks": "asyncio tasks",
    "threads": "threads",
    "files": "open files and sockets",
    "connections": "database connections",
    "rows": "messages in the log",
    "streams": "streams open",
    "delivered_s": "events delivered a second",
}


def plot(samples: Sequence[Mapping[str, float]], title: str, directory: Path) -> list[Path]:
    """Draw the figures over the minutes into soak.svg and soak.png; return the files."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "eric_sse_django"  # the same picture, the same bytes
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(4, 2, figsize=(9, 9), sharex=True, layout="constrained")
    minutes = [sample["at_s"] / 60 for sample in samples]
    for axis, (name, label) in zip(axes.flat, TITLES.items(), strict=True):
        values = [sample[name] for sample in samples]
        axis.plot(minutes, values, color="#1f6f8b", linewidth=1.2)
        axis.set_ylim(0, max(values) * 1.2 or 1)
        axis.set_title(label, fontsize=9, loc="left")
        axis.grid(alpha=0.3)
    for axis in axes[-1]:
        axis.set_xlabel("minutes")
    figure.suptitle(title, fontsize=10)
    directory.mkdir(parents=True, exist_ok=True)
    files = [directory / f"soak.{kind}" for kind in ("svg", "png")]
    for file in files:
        options = {"metadata": {"Date": None}} if file.suffix == ".svg" else {"dpi": 100}
        figure.savefig(file, **options)
    return files
