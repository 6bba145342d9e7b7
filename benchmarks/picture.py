"""What all pictures share: matplotlib's settings, and how a picture is saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def pyplot(font_size: int = 9) -> Any:
    """Return matplotlib.pyplot, for pictures without a screen. Raises ImportError without it."""
    import matplotlib as mpl  # noqa: PLC0415 - of the extra `bench`

    mpl.use("Agg")
    # The same picture has the same bytes, and its text can be searched.
    mpl.rcParams |= {"svg.hashsalt": "figures", "svg.fonttype": "none", "font.size": font_size}
    from matplotlib import pyplot as found  # noqa: PLC0415

    return found


def save(figure: Any, path: Path) -> Path:
    """Write a figure as SVG or PNG, by the path's suffix, and close it; return the path."""
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot().close(figure)
    return path


def tidy(axes: Any) -> None:
    """Leave out the lines that show nothing."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#eeeeee")
