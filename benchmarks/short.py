"""The short table of docs/benchmarks.md: a line for each figure, a column for each subject."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.report import mark, number, wrong_of
from benchmarks.result import Results, Row
from benchmarks.scale import Scale
from benchmarks.subject import BARE, FULL, JOINING, OURS
from benchmarks.work import Rival

# This app's columns: database and server.
COLUMNS = (("SQLite", "uvicorn"), ("SQLite", "daphne"), ("PostgreSQL", "uvicorn"))
HEAD = (
    "| work | target | this app: SQLite, uvicorn | SQLite, Daphne | PostgreSQL, uvicorn "
    "| bare app: uvicorn, Daphne | … that joins writes | rivals, on uvicorn and SQLite or in "
    "memory unless stated |\n| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |"
)


def table(results: Results, scale: Scale) -> str:
    """Return the table as Markdown."""
    lines = [HEAD]
    for work in results.works:
        rows = results.rows(work)
        for measure in work.measures:
            if measure.short is not None:
                text = measure.short.format(**_sizes(scale))
                lines += _lines(text, [row for row in rows if row.measure is measure])
    return "\n".join(lines)


def _sizes(scale: Scale) -> dict[str, str]:
    return {"listeners": f"{scale.listeners:,}", "waiting": f"{scale.waiting:,}"}


def _lines(text: str, rows: Sequence[Row]) -> Iterator[str]:
    synced = [row for row in rows if row.subject.database == FULL]
    others = [row for row in rows if row.subject.database != FULL]
    if others:
        yield _line(text, others)
        if (rival := others[0].measure.rival) is not None:
            yield _beside(rival, others)
    if synced:
        yield _line(f"{text}, SQLite with `synchronous=FULL`", synced)


def _line(text: str, rows: Sequence[Row]) -> str:
    ours = [row for row in rows if row.subject.name == OURS]
    of = rows[0].measure.target_for
    targets = sorted({row.target + (f" on {of}" if of else "") for row in ours if row.target})
    cells = [text, ", ".join(targets), *_ours(ours)]
    cells += [_figures(rows, name) for name in (BARE, JOINING)]
    rivals = [row for row in rows if row.subject.name not in (BARE, JOINING, OURS)]
    cells.append("; ".join(f"{_name(row)} {_figure(row)}" for row in rivals))
    return f"| {' | '.join(cells)} |"


def _beside(rival: Rival, rows: Sequence[Row]) -> str:
    """Return the line of this app's figures divided by a rival's."""
    cells = [f"… times {rival.name}'s", str(rival)]
    for column in COLUMNS:
        found = {row.subject.name: row.figure for row in rows if _column(row) == column}
        if not found.get(OURS) or not found.get(rival.name):
            cells.append("")
            continue
        times = found[OURS] / found[rival.name]
        sign = "✔" if times >= rival.times else "✘"
        cells.append(f"{times:.2f}" + (f" {sign}" if column[0] == rival.database else ""))
    return f"| {' | '.join([*cells, '', '', ''])} |"


def _column(row: Row) -> tuple[str | None, str]:
    return row.subject.database, row.subject.server


def _ours(rows: Sequence[Row]) -> Iterator[str]:
    for database, server in COLUMNS:
        found = [
            row
            for row in rows
            if (row.subject.database or "").startswith(database) and row.subject.server == server
        ]
        yield " ".join(f"{_figure(row)}{_ratio(row)} {mark(row)}".strip() for row in found)


def _figures(rows: Sequence[Row], name: str) -> str:
    return ", ".join(_figure(row) for row in rows if row.subject.name == name)


def _figure(row: Row) -> str:
    wrong = wrong_of(row)
    return number(row.figure, row.measure.digits) + (f" ({wrong})" if wrong else "")


def _ratio(row: Row) -> str:
    return "" if row.ratio is None else f" ({row.ratio:.2f} ×)"


def _name(row: Row) -> str:
    """Return a rival's name, with what differs from the column's head."""
    subject = row.subject
    parts = [subject.name]
    if subject.database not in (None, "SQLite", FULL):
        parts.append(subject.database)
    if subject.server != "uvicorn":
        parts.append(subject.server.capitalize())
    return ", ".join(parts)
