"""What all pictures share: matplotlib's settings, and how a picture is saved."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_MORE_DIGITS = re.compile(r"(\d\.\d\d)\d+")
_NO_TURN = re.compile(r' transform="rotate\(-0 [^)]*\)"')
_INDENT = re.compile(r"\n\s+")


def pyplot(font_size: int = 9) -> Any:
    """Return matplotlib.pyplot, for pictures without a screen. Raises ImportError without it."""
    import matplotlib as mpl  # noqa: PLC0415 - of the extra `bench`

    mpl.use("Agg")
    # The same picture has the same bytes, and its text can be searched. Each text names its fonts.
    mpl.rcParams |= {"svg.hashsalt": "figures", "svg.fonttype": "none", "font.size": font_size}
    mpl.rcParams |= {"font.sans-serif": ["DejaVu Sans", "Verdana"]}
    from matplotlib import pyplot as found  # noqa: PLC0415

    return found


def save(figure: Any, path: Path) -> Path:
    """Write a figure as SVG or PNG, by the path's suffix, and close it; return the path."""
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot().close(figure)
    if path.suffix == ".svg":
        path.write_text(compact(path.read_text()))
    return path


def compact(svg: str) -> str:
    """Return an SVG with places to a hundredth of a point, and without what changes nothing."""
    return _NO_TURN.sub("", _INDENT.sub("\n", _MORE_DIGITS.sub(r"\1", svg)))


def tidy(axes: Any) -> None:
    """Leave out the lines that show nothing."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#eeeeee")
