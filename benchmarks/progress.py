"""Shows the progress of a run."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any


class Progress:
    """A line for each step, on standard error; in a terminal with rich, a bar below them."""

    def __init__(self, steps: int) -> None:
        self._steps, self._done = steps, 0
        self._began = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            self._bar = _bar()
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("", total=self._steps)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, what: str) -> None:
        """Show the step that begins."""
        if self._bar is not None:
            self._bar.update(self._task, description=what)

    def end(self, what: str) -> None:
        """Show the result of a step, which is then done."""
        self._done += 1
        seconds = time.monotonic() - self._began
        line = f"[{self._done}/{self._steps}, {seconds:,.0f} s] {what}"
        if self._bar is None:
            print(line, file=sys.stderr, flush=True)
        else:
            self._bar.console.print(line, highlight=False, markup=False)
            self._bar.advance(self._task)


def _bar() -> Any:
    try:
        from rich import console, progress  # noqa: PLC0415 - of the extra `bench`
    except ImportError:
        return None
    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        console=console.Console(stderr=True),
    )
