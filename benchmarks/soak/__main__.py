"""
Memory, CPU and delays of one server over half an hour of steady load.

    python -m benchmarks.soak [--minutes 30] [--subject "this app, PostgreSQL, uvicorn"]
                              [--out DIR] [--write docs/benchmarks.md]

1,000 streams that all get five messages a second; a sample every ten seconds. Messages are kept
for five minutes, so that old ones are removed meanwhile. With --write it replaces the table of
that page, and the picture beside it. Exits with 1 if a message was lost, repeated or disordered.

`python -m tests.faults.soak` runs as long with streams that reconnect, and judges what was lost.
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
from benchmarks.soak.report import draw, growth_mib, table
from benchmarks.soak.sample import Sample, samples
from benchmarks.stage import Stage
from benchmarks.subject import SUBJECTS, Subject

# Of this app: messages are removed during the run, and seldom enough that all are read before.
SETTINGS = {"RETENTION_S": 300, "TRIM_INTERVAL_S": 30}


def main() -> int:
    """Return the exit status."""
    options = _options()
    machine.make_room(options.streams)
    subject: Subject = options.subject
    seconds = options.minutes * 60
    python, found = python_of(subject.packages), []
    with (
        Servers() as servers,
        Progress(max(1, round(seconds / options.every))) as progress,
        Stage(servers, subject, python, Scale(), settings=SETTINGS) as stage,
    ):
        load = options.streams, options.pace, options.every, seconds
        for sample in samples(stage, *load):
            found.append(sample)
            progress.end(str(sample))
    _write(found, options)
    return int(any(sample.wrong for sample in found))


def _write(found: list[Sample], options: argparse.Namespace) -> None:
    text = (
        f"{options.subject}; {options.streams:,} streams, {options.pace:g} broadcasts a second, "
        f"{options.minutes:g} minutes; {growth_mib(found):+.1f} MiB from the second quarter of "
        f"the time to the last.\n\n{table(found)}"
    )
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    whole = {
        "machine": machine.facts(),
        "subject": str(options.subject),
        "samples": [sample.as_dict() for sample in found],
    }
    (options.out / "soak.json").write_text(json.dumps(whole, indent=1))
    (options.out / "soak.md").write_text(text + "\n")
    draw(found, options.out / "soak.svg")
    if options.write:
        document.write(options.write, {"soak": text})
        draw(found, options.write.parent / "images" / "steady.svg")


def _subject(name: str) -> Subject:
    for subject in SUBJECTS:
        if name in str(subject):
            return subject
    names = "; ".join(str(subject) for subject in SUBJECTS)
    raise argparse.ArgumentTypeError(f"no subject has {name!r} in its name, these exist: {names}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.soak", description=(__doc__ or "").strip().splitlines()[0]
    )
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--subject", type=_subject, default="this app, PostgreSQL, uvicorn")
    parser.add_argument("--streams", type=int, default=1_000)
    parser.add_argument("--pace", type=float, default=5.0, help="broadcasts a second")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two samples")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--write", type=Path, metavar="PAGE", help="the page to write into")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
