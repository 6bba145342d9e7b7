"""The report of runs: the medians of all rounds, and the targets."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from benchmarks.runs.measuring import Measured
from benchmarks.runs.ways import DIRECT, REDIS

COST = "server and worker µs a token"


def markdown(found: Sequence[Measured]) -> str:
    """Return a table of all figures, and one of the targets."""
    rows = _medians(found)
    names = list(dict.fromkeys(name for figures in rows.values() for name in figures))
    lines = [
        "| | " + " | ".join(rows) + " |",
        "| --- |" + " --- |" * len(rows),
    ]
    for name in names:
        cells = [f"{each[name]:,.2f}" if name in each else "" for each in rows.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    targets = _targets(rows)
    if targets:
        lines += ["", "| target | figure | limit | |", "| --- | --- | --- | --- |"]
        lines += [
            f"| {name} | {figure:,.2f} | {limit:,.2f} | {'✔' if figure <= limit else '✘'} |"
            for name, figure, limit in targets
        ]
    return "\n".join(lines) + "\n"


def _medians(found: Sequence[Measured]) -> dict[str, dict[str, float]]:
    ways = dict.fromkeys(each.way for each in found)
    made = {}
    for way in ways:
        rounds = [each.figures for each in found if each.way == way]
        made[way] = {name: median(each[name] for each in rounds) for name in rounds[0]}
    return made


def _targets(rows: dict[str, dict[str, float]]) -> list[tuple[str, float, float]]:
    """Return each target of the runs: its name, the figure, and the limit."""
    if DIRECT not in rows or REDIS not in rows:
        return []
    direct, redis = rows[DIRECT], rows[REDIS]
    made = []
    for way, figures in rows.items():
        if way in (DIRECT, REDIS):
            continue
        if "attach ms" in figures:
            if way.startswith("runs"):
                made.append((f"{way}: attach ms", figures["attach ms"], 20.0))
            continue
        first, between = "first token ms", "between p99 ms"
        rows_a_second = "rows a second of a run"
        made += [
            (f"{way}: {first}", figures[first], direct[first] + 10),
            (f"{way}: {between}", figures[between], 1.2 * redis[between]),
            (f"{way}: {COST}, twice {DIRECT}", figures[COST], 2 * direct[COST]),
            (f"{way}: {COST}, {REDIS}", figures[COST], redis[COST]),
            (f"{way}: {rows_a_second}", figures[rows_a_second], 30.0),
        ]
    return made
