"""The results as a Markdown report, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks import machine
from benchmarks.result import Results, Row
from benchmarks.scale import Scale
from benchmarks.subject import BARE, JOINING, OURS
from benchmarks.work import Work

HEAD = "| | {} | min–max | ratio | target | lost | repeated | disordered |"
RULE = "| --- | ---: | ---: | ---: | --- | ---: | ---: | ---: |"

# The versions of the packages of each subject, by its name.
Versions = Mapping[str, Mapping[str, str]]


def markdown(results: Results, scale: Scale, versions: Versions) -> str:
    """Return the whole report."""
    lines = [f"{_in_words(machine.facts())}.", "", f"{_in_words(scale.__dict__)}.", ""]
    lines += _versions(versions)
    for work in results.works:
        lines += ["", f"### {work.title}", *_tables(results, work), *_beside(results, work)]
    if results.skipped:
        lines += ["", "### Not measured", ""]
        lines += [f"- {what}: {reason}" for what, reason in results.skipped.items()]
    return "\n".join([*lines, ""])


def as_json(results: Results, scale: Scale, versions: Versions) -> str:
    """Return the figures of every round, for other programs and for later runs."""
    rows = [_row(row) for work in results.works for row in results.rows(work)]
    whole = {
        "machine": machine.facts(),
        "scale": scale.__dict__,
        "versions": versions,
        "rows": rows,
        "works": results.as_dict(),
        "skipped": results.skipped,
    }
    return json.dumps(whole, indent=1, ensure_ascii=False)


def number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}"


def wrong_of(row: Row) -> str:
    """Return what was lost, repeated and disordered, in words; "" for nothing."""
    counts = row.wrong.__dict__.items()
    return ", ".join(f"{count:,} {what}" for what, count in counts if count)


def _in_words(facts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items())


def _versions(versions: Versions) -> Iterator[str]:
    """Yield a line for each set of packages, with the subjects that have it."""
    names: dict[str, list[str]] = {}
    for subject, packages in versions.items():
        name = subject.partition(", ")[0]
        of = names.setdefault(_in_words(packages), [])
        if name not in of:
            of.append(name)
    for packages_in_words, subjects in names.items():
        yield f"- {', '.join(subjects)}: {packages_in_words}"


def _tables(results: Results, work: Work) -> Iterator[str]:
    rows = results.rows(work)
    for measure in work.measures:
        found = [row for row in rows if row.measure is measure]
        if found:
            yield from ("", HEAD.format(measure.name), RULE, *map(line, found))


def line(row: Row) -> str:
    """Return the table's line of one row."""
    digits = row.measure.digits
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    target = row.target if row.met is None else f"{row.target} {mark(row)}"
    span = f"{number(min(row.rounds), digits)}–{number(max(row.rounds), digits)}"
    wrong = row.wrong
    cells = [str(row.subject), number(row.figure, digits), span, ratio, target]
    cells += [f"{count:,}" for count in (wrong.lost, wrong.repeated, wrong.disordered)]
    return f"| {' | '.join(cells)} |"


def mark(row: Row) -> str:
    """Return whether this app reaches its target, as a sign; "" for the others."""
    return "" if row.met is None else "✔" if row.met else "✘"


def _beside(results: Results, work: Work) -> Iterator[str]:
    """Yield this app's ratio to each rival on the same server, for the first measure."""
    rows = [row for row in results.rows(work) if row.measure is work.measures[0]]
    rivals = [row for row in rows if row.subject.name not in (BARE, JOINING, OURS)]
    for ours in (row for row in rows if row.subject.name == OURS):
        parts = [
            f"{ours.figure / rival.figure:.2f} × {rival.subject.name}'s"
            for rival in rivals
            if rival.figure and _are_alike(rival, ours)
        ]
        if parts:
            yield ""
            yield f"{ours.subject}: {work.measures[0].name} {', '.join(parts)}."


def _are_alike(rival: Row, ours: Row) -> bool:
    """Whether they have the same server, and the rival no other database."""
    databases = (None, ours.subject.database)
    return rival.subject.server == ours.subject.server and rival.subject.database in databases


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
