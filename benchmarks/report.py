"""The results as a Markdown table, and as JSON."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.result import Results, Row
from benchmarks.scale import Scale
from benchmarks.subject import BARE, OURS
from benchmarks.work import Work

HEAD = "| | {} | min–max | ratio | target | lost | repeated | disordered |"
RULE = "| --- | ---: | ---: | ---: | --- | ---: | ---: | ---: |"
PACKAGES = (
    *("django", "channels", "daphne", "twisted", "uvicorn", "uvloop", "httptools"),
    *("psycopg", "channels_redis", "redis"),
)


def markdown(results: Results, scale: Scale) -> str:
    """Return the whole report."""
    lines = [f"{_in_words(machine())}", "", f"{_in_words(scale.__dict__)}"]
    for work in results.works:
        lines += ["", f"## {work.title}", *_tables(results, work), *_beside(results, work)]
    if results.skipped:
        lines += ["", "## Not measured", ""]
        lines += [f"- {what}: {reason}" for what, reason in results.skipped.items()]
    return "\n".join([*lines, ""])


def as_json(results: Results, scale: Scale) -> str:
    """Return the figures of every round, for other programs."""
    rows = [_row(row) for work in results.works for row in results.rows(work)]
    whole = {
        "machine": machine(),
        "scale": scale.__dict__,
        "rows": rows,
        "skipped": results.skipped,
    }
    return json.dumps(whole, indent=1, ensure_ascii=False)


def machine() -> dict[str, str]:
    """Return the machine and the versions that the figures depend on."""
    found = {
        "date": time.strftime("%Y-%m-%d"),
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": platform.platform(),
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
    }
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _in_words(facts: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items())


def _tables(results: Results, work: Work) -> Iterator[str]:
    rows = results.rows(work)
    for measure in work.measures:
        yield from ("", HEAD.format(measure.name), RULE)
        for row in rows:
            if row.measure is measure:
                yield line(row)


def line(row: Row) -> str:
    """Return the table's line of one row."""
    digits = row.measure.digits
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    target = row.target if row.met is None else f"{row.target} {'✔' if row.met else '✘'}"
    span = f"{number(min(row.rounds), digits)}–{number(max(row.rounds), digits)}"
    wrong = row.wrong
    cells = [str(row.subject), number(row.figure, digits), span, ratio, target]
    cells += [f"{count:,}" for count in (wrong.lost, wrong.repeated, wrong.disordered)]
    return f"| {' | '.join(cells)} |"


def _beside(results: Results, work: Work) -> Iterator[str]:
    """Yield this app's ratio to each rival on the same server, for the first measure."""
    rows = [row for row in results.rows(work) if row.measure is work.measures[0]]
    rivals = [row for row in rows if row.subject.name not in (BARE, OURS)]
    for ours in (row for row in rows if row.subject.name == OURS):
        parts = [
            f"{ours.figure / rival.figure:.2f} × {rival.subject.name}'s"
            for rival in rivals
            if rival.figure and rival.subject.server == ours.subject.server
        ]
        if parts:
            yield ""
            yield f"{ours.subject}: {work.measures[0].name} {', '.join(parts)}."


def _row(row: Row) -> dict[str, Any]:
    return {
        "work": row.work.name,
        "measure": row.measure.name,
        "subject": row.subject.name,
        "server": row.subject.server,
        "database": row.subject.database,
        "rounds": row.rounds,
        "median": row.figure,
        "ratios": row.ratios,
        "ratio": row.ratio,
        "target": row.target,
        "met": row.met,
        **row.wrong.__dict__,
    }
