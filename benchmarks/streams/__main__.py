"""
What more open streams of one process cost: memory, CPU and delay.

    python -m benchmarks.streams [--sizes 100 300 1000 3000 10000] [--subjects "this app"]
                                 [--out DIR] [--write docs/benchmarks.md]

Opens more and more streams of one server, and measures it with each of these numbers: silent, and
while all get one message a second. Takes three minutes for each subject. With --write it replaces
the table of that page, and the picture beside it. Exits with 1 if this app lost, repeated or
disordered a message.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks import document, machine
from benchmarks.environment import python_of
from benchmarks.progress import Progress
from benchmarks.scale import Scale
from benchmarks.servers import Servers
from benchmarks.stage import Stage
from benchmarks.streams.point import Point, points
from benchmarks.streams.report import draw, table
from benchmarks.subject import OURS, SUBJECTS

SIZES = (100, 300, 1_000, 3_000, 10_000)
COMPARED = ("bare app, uvicorn", "this app, PostgreSQL")


def main() -> int:
    """Return the exit status."""
    options = _options()
    sizes = sorted(options.sizes)
    machine.make_room(sizes[-1])
    subjects = [each for each in SUBJECTS if any(part in str(each) for part in options.subjects)]
    found: list[Point] = []
    with Servers() as servers, Progress(len(subjects) * len(sizes)) as progress:
        for subject in subjects:
            progress.begin(f"{subject}: preparing {sizes[-1]:,} listeners")
            with Stage(servers, subject, python_of(subject.packages), Scale()) as stage:
                for point in points(stage, sizes, options.idle, options.messages, options.pace):
                    found.append(point)
                    progress.end(str(point))
    _write(found, options)
    return int(any(point.wrong for point in found if point.subject.startswith(OURS)))


def _write(found: list[Point], options: argparse.Namespace) -> None:
    text = table(found, f"{options.pace:g} message a second")
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    whole = {"machine": machine.facts(), "points": [point.as_dict() for point in found]}
    (options.out / "streams.json").write_text(json.dumps(whole, indent=1))
    (options.out / "streams.md").write_text(text + "\n")
    draw(found, options.out / "streams.svg")
    if options.write:
        document.write(options.write, {"streams": text})
        draw(found, options.write.parent / "images" / "streams.svg")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.streams", description=(__doc__ or "").strip().splitlines()[0]
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="open streams")
    parser.add_argument(
        "--subjects", nargs="+", default=COMPARED, help="texts that their names contain"
    )
    # As long as the interval of heartbeats: each idle stream gets one.
    parser.add_argument("--idle", type=float, default=15.0, help="seconds without a message")
    parser.add_argument("--messages", type=int, default=10, help="messages to all streams")
    parser.add_argument("--pace", type=float, default=1.0, help="of these a second")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--write", type=Path, metavar="PAGE", help="the page to write into")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
