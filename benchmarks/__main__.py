"""
This app compared with bare servers and its rivals, on the same work, in one run.

    python -m benchmarks [--works fanout idle] [--rounds 3] [--quick] [--out DIR]

Writes a table, JSON and plots. Exits with 1 if this app lost, repeated or disordered anything.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import plot, report
from benchmarks.client import ClientError
from benchmarks.environment import InstallationError, python_of
from benchmarks.progress import Progress
from benchmarks.result import Results
from benchmarks.scale import Scale
from benchmarks.server import CLIENT_CORE, ServerError
from benchmarks.servers import Servers
from benchmarks.stage import Stage
from benchmarks.subject import SUBJECTS, Subject
from benchmarks.work import Work
from benchmarks.works import WORKS
from tests.server import ServerError as DatabaseServerError

Pythons = dict[Subject, str]


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status."""
    options = _options(arguments)
    _make_room()
    scale, works = _scale(options), [work for work in WORKS if work.name in options.works]
    subjects = [each for each in SUBJECTS if any(part in str(each) for part in options.subjects)]
    results = Results()
    with Servers() as servers:
        pythons = _installed(servers, subjects, results)
        steps = sum(work.suits(each) for work in works for each in pythons) * scale.rounds
        with Progress(steps) as progress:
            for work in works:
                _do(work, servers, pythons, scale, results, progress)
    _write(results, scale, options.out)
    return int(results.ours_is_wrong())


def _do(
    work: Work,
    servers: Servers,
    pythons: Pythons,
    scale: Scale,
    results: Results,
    progress: Progress,
) -> None:
    """Run one work in rounds, the subjects in turns: a disturbance affects all of them."""
    for number in range(1, scale.rounds + 1):
        for subject, python in pythons.items():
            if not work.suits(subject):
                continue
            what = f"{work.name}: {subject}, round {number} of {scale.rounds}"
            progress.begin(what)
            try:
                with Stage(servers, subject, python, scale, work.apart, work.settings) as stage:
                    found = work.run(stage)
            except (ClientError, ServerError, DatabaseServerError) as error:
                results.skip(what, str(error).strip())
                progress.end(f"{what}: FAILED, {error}")
                continue
            results.add(work, subject, found)
            figures = [f"{name} {value:,.2f}" for name, value in found.figures.items()]
            wrong = [str(found.wrong)] if found.wrong else []
            progress.end(f"{what}: {', '.join(figures + wrong)}")


def _installed(servers: Servers, subjects: list[Subject], results: Results) -> Pythons:
    """Return the interpreters of the subjects that can run; record the others as skipped."""
    found: Pythons = {}
    for subject in subjects:
        reason = servers.absence(subject)
        if reason is None:
            try:
                if subject.packages:
                    print(f"environment of {subject} …", file=sys.stderr, flush=True)
                found[subject] = python_of(subject.packages)
            except InstallationError as error:
                reason = f"could not be installed: {error}"
        if reason is not None:
            results.skip(subject, reason)
            print(f"SKIPPED {subject}: {reason}", file=sys.stderr, flush=True)
    return found


def _write(results: Results, scale: Scale, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    plot.draw(results, out / "results.svg")
    (out / "results.json").write_text(report.as_json(results, scale))
    (out / "results.md").write_text(report.markdown(results, scale))
    print(report.markdown(results, scale))
    print(f"Written to {out}/", file=sys.stderr)


def _make_room() -> None:
    """Use the client's core only, raise the limit of sockets, and end cleanly on SIGTERM."""
    os.sched_setaffinity(0, {CLIENT_CORE})
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def _scale(options: argparse.Namespace) -> Scale:
    scale = Scale.quick(options.listeners or 100) if options.quick else Scale()
    given = {"listeners": options.listeners, "rounds": options.rounds}
    return dataclasses.replace(scale, **{name: value for name, value in given.items() if value})


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    names = [work.name for work in WORKS]
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__.splitlines()[1])
    parser.add_argument("--works", nargs="+", choices=names, default=names, metavar="WORK")
    parser.add_argument(
        "--subjects", nargs="+", default=[""], help="texts that their names contain"
    )
    parser.add_argument(
        "--rounds", type=int, help="rounds of each work (default 3; the median is shown)"
    )
    parser.add_argument("--listeners", type=int, help="streams (default 1,000)")
    parser.add_argument("--quick", action="store_true", help="small sizes, to try the harness")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
