"""What the commands write to a terminal: tables, JSON, and times as people read them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from importlib.util import find_spec
from typing import Any

from django.core.management.base import CommandError, OutputWrapper
from django.utils import timezone

# What a time before now may be.
MAX_DURATION = timedelta(days=36_500)
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(option: str, text: str, units: str = "mhd") -> timedelta:
    """Return the time that an option such as --away names. Raises CommandError."""
    found = re.fullmatch(rf"(\d{{1,6}})([{units}])", text)
    if not found or not int(found[1]):
        named = f"{', '.join(units[:-1])} or {units[-1]}"
        raise CommandError(f"{option} is {text!r}: give a number and {named}, for example 30d.")
    time = timedelta(**{UNITS[found[2]]: int(found[1])})
    if time > MAX_DURATION:
        raise CommandError(f"{option} is {text!r}: that is more than {MAX_DURATION.days} days.")
    return time


def check_interval(option: str, seconds: float) -> None:
    """Raise CommandError for what a command cannot sleep for."""
    if not 0 < seconds <= MAX_DURATION.total_seconds():  # false for NaN too
        raise CommandError(f"{option} is {seconds:g}: it must be a number of seconds over 0.")


def ago(moment: datetime | None) -> str:
    """Return how long ago a moment was: "5 m"; "" for None."""
    if moment is None:
        return ""
    seconds = max(0, int((timezone.now() - moment).total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def write_table(out: OutputWrapper, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write rows in columns: by rich on a terminal where it is installed, else as text."""
    texts = [["" if value is None else printable(str(value)) for value in row] for row in rows]
    if out.isatty() and find_spec("rich") is not None:
        _write_rich(out, names, texts)
        return
    widths = [max(map(len, column)) for column in zip(names, *texts, strict=True)]
    for row in (list(names), *texts):
        cells = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        out.write("  ".join(cells).rstrip())


def _write_rich(out: OutputWrapper, names: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from rich.console import Console  # noqa: PLC0415 - it is optional
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(*names, header_style="bold", box=None)
    for row in rows:
        table.add_row(*map(Text, row))
    stream: Any = out._out
    Console(file=stream).print(table)


def printable(text: str) -> str:
    """Return a text without what would control a terminal, such as what a client published."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in text)


def highlighted(out: OutputWrapper, text: str) -> str:
    """Return JSON with colours: by rich on a terminal where it is installed, else as it is."""
    if not out.isatty() or find_spec("rich") is None:
        return text
    from rich.console import Console  # noqa: PLC0415 - it is optional
    from rich.highlighter import JSONHighlighter  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    shown = Text(text)
    JSONHighlighter().highlight(shown)
    console = Console(force_terminal=True)
    with console.capture() as captured:
        console.print(shown, end="", soft_wrap=True)
    return captured.get()


def write_json(out: OutputWrapper, value: Any) -> None:
    """Write a value as JSON; times as text."""
    out.write(json.dumps(value, indent=2, default=str))
