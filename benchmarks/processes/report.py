"""The tables, and the files that contain them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.processes.elsewhere import Elsewhere
from benchmarks.processes.growing import Growing
from benchmarks.processes.opening import Opening
from benchmarks.processes.same import Same


def markdown(
    same: Sequence[Same],
    elsewhere: Sequence[Elsewhere],
    growing: Sequence[Growing],
    opening: Opening,
) -> str:
    """Return the tables."""
    tables = (_of_same(same), _of_elsewhere(elsewhere), _of_growing(growing), _of_opening(opening))
    return "\n\n".join("\n".join(lines) for lines in tables)


def _of_same(same: Sequence[Same]) -> list[str]:
    lines = [
        "| processes | streams of each | lost | repeated | out of order | deliveries/s | "
        "µs CPU per delivery | 10 a second: p50, p99 ms |",
        "|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    for found in same:
        streams = " + ".join(map(str, found.streams))
        lines.append(
            f"| {found.processes} | {streams} | {found.lost} | {found.repeated} | "
            f"{found.disordered} | {found.deliveries_per_s:,.0f} | {found.cpu_us:.1f} | "
            f"{found.p50_ms:.1f}, {found.p99_ms:.1f} |"
        )
    return lines


def _of_elsewhere(elsewhere: Sequence[Elsewhere]) -> list[str]:
    lines = [
        "| cost of a message for a process with | fabric | published | µs CPU | statements |",
        "|---|---|---|---:|---:|",
    ]
    for cost in elsewhere:
        statements = "" if cost.statements is None else f"{cost.statements:.2f}"
        lines.append(
            f"| {cost.process} | {cost.fabric} | {cost.pace} | {cost.cpu_us:,.0f} | {statements} |"
        )
    return lines


def _of_growing(growing: Sequence[Growing]) -> list[str]:
    return [
        "| cost of a message for all processes | fabric | µs CPU | statements |",
        "|---:|---|---:|---:|",
        *(
            f"| {each.processes} | {each.fabric} | {each.cpu_us:,.0f} | {each.statements:.2f} |"
            for each in growing
        ),
    ]


def _of_opening(opening: Opening) -> list[str]:
    figures = (
        ("opening: µs CPU of the server", opening.open_cpu_us),
        ("opening: µs CPU of PostgreSQL", opening.open_database_us),
        ("opening: statements", opening.open_statements),
        ("opening: µs CPU of nginx", opening.open_nginx_us),
        ("KiB of the server", opening.server_kib),
        ("KiB of nginx", opening.nginx_kib),
        ("a broadcast: µs CPU of the server", opening.delivery_cpu_us),
        ("a broadcast: µs CPU of nginx", opening.delivery_nginx_us),
        ("a broadcast, for its cursor: µs CPU of PostgreSQL", opening.cursor_database_us),
    )
    return [
        f"| cost of each of {opening.streams:,} streams | |",
        "|---|---:|",
        *(f"| {what} | {figure:,.1f} |" for what, figure in figures),
        f"| all together, idle: % of a core | {opening.idle_percent:.2f} |",
    ]


def write(
    folder: Path,
    same: Sequence[Same],
    elsewhere: Sequence[Elsewhere],
    growing: Sequence[Growing],
    opening: Opening,
) -> None:
    """Write processes.json and processes.md to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {
        "same": [each.as_dict() for each in same],
        "elsewhere": [each.as_dict() for each in elsewhere],
        "growing": [each.as_dict() for each in growing],
        "opening": opening.as_dict(),
    }
    (folder / "processes.json").write_text(json.dumps(found, indent=1) + "\n")
    (folder / "processes.md").write_text(markdown(same, elsewhere, growing, opening) + "\n")
