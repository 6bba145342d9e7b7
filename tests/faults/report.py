"""The output of a run: its progress, and its report."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

# Seconds between two lines if the output is not a terminal.
LINE_EVERY_S = 10.0


def end_like_ctrl_c() -> None:
    """Let SIGTERM end the run like Ctrl-C: cleanly, with all processes that it started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


class Progress:
    """Shows the latest line: in place on a terminal, else one every 10 s."""

    def __init__(self) -> None:
        self._in_place = sys.stdout.isatty()
        self._shown_at = 0.0

    def __call__(self, line: str) -> None:
        """Show a line."""
        if self._in_place:
            print(f"\r\033[K{line}", end="", flush=True)
        elif time.monotonic() - self._shown_at > LINE_EVERY_S:
            self._shown_at = time.monotonic()
            print(line, flush=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._in_place:
            print()


def lines(report: dict[str, Any], indent: str = "") -> list[str]:
    """Return the report as a table of two columns, with nested tables indented."""
    made = []
    for name, value in report.items():
        title = f"{indent}{name.replace('_', ' ')}"
        if isinstance(value, dict):
            made += [title, *lines(value, indent + "  ")]
        elif isinstance(value, list):
            made += [f"{title:<28}{len(value) or 'none'}", *(f"{indent}  - {v}" for v in value)]
        else:
            made.append(f"{title:<28}{value}")
    return made


def write(report: dict[str, Any], file: str | None) -> None:
    """Print the report; also write it to `file` as JSON, if given."""
    print("\n".join(lines(report)), flush=True)
    if file is not None:
        Path(file).write_text(json.dumps(report, indent=2) + "\n")
