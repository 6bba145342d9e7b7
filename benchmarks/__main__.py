"""
This app compared with bare servers and its rivals, on the same work, in one run.

    python -m benchmarks [--works fanout idle] [--rounds 3] [--quick] [--out DIR]
                         [--write docs/benchmarks.md]

Writes tables, JSON and a picture to DIR. With --write it also replaces the tables of that page,
and the picture beside it. Works that are in DIR already, and are not run now, stay: `--works`
without names runs none, and only writes. Exits with 1 if this app lost, repeated or disordered
anything.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import document, machine, plot, report, short
from benchmarks.client import ClientError
from benchmarks.environment import InstallationError, python_of
from benchmarks.progress import Progress
from benchmarks.result import Results
from benchmarks.scale import Scale
from benchmarks.server import ServerError
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
    scale, works = _scale(options), [work for work in WORKS if work.name in options.works]
    machine.make_room(scale.listeners)
    subjects = [each for each in SUBJECTS if any(part in str(each) for part in options.subjects)]
    run = Run(scale, options.out)
    if works:
        with Servers() as servers:
            pythons = run.installed(servers, subjects)
            with run.progress(works, pythons) as progress:
                for work in works:
                    _do(work, servers, pythons, run, progress)
                    run.save()
    run.draw()
    run.save()
    if options.write:
        run.write(options.write)
    print((options.out / "results.md").read_text())
    print(f"Written to {options.out}/", file=sys.stderr)
    return int(run.results.ours_is_wrong())


class Run:
    """One run: its results and the versions of its subjects, saved in a directory."""

    def __init__(self, scale: Scale, out: Path) -> None:
        self.scale, self.results, self._out = scale, Results(), out
        self.versions: dict[str, dict[str, str]] = {}
        self._earlier: dict[str, Any] = {}
        out.mkdir(parents=True, exist_ok=True)
        if (out / "results.json").exists():
            self._earlier = json.loads((out / "results.json").read_text())

    def installed(self, servers: Servers, subjects: list[Subject]) -> Pythons:
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
                self.results.skip(subject, reason)
                print(f"SKIPPED {subject}: {reason}", file=sys.stderr, flush=True)
        pythons = {python: machine.versions(python) for python in {*found.values()}}
        self.versions = {str(subject): pythons[python] for subject, python in found.items()}
        return found

    @contextmanager
    def progress(self, works: Sequence[Work], pythons: Pythons) -> Iterator[Progress]:
        """Show the progress of all works and rounds."""
        steps = sum(work.suits(each) * self.rounds(work) for work in works for each in pythons)
        with Progress(steps) as progress:
            yield progress

    def rounds(self, work: Work) -> int:
        return min(self.scale.rounds, work.rounds or self.scale.rounds)

    def whole(self) -> tuple[Results, Scale, dict[str, dict[str, str]]]:
        """Return all there is: also the works of an earlier run, if it had the same sizes."""
        found, works, versions = Results(), self.results.as_dict(), self.versions
        if _sizes(self._earlier.get("scale", {})) == _sizes(self.scale.__dict__):
            works = {**self._earlier["works"], **works}
            versions = {**self._earlier["versions"], **versions}
        found.take(works, WORKS, SUBJECTS)
        found.skipped |= self.results.skipped
        return found, self.scale, versions

    def save(self) -> None:
        """Write table and JSON."""
        whole = self.whole()
        (self._out / "results.json").write_text(report.as_json(*whole))
        (self._out / "results.md").write_text(report.markdown(*whole))

    def draw(self) -> None:
        """Write the picture; without matplotlib record that."""
        results, *_ = self.whole()
        plot.draw(results, self._out / "results.svg")
        self.results.skipped |= results.skipped

    def write(self, page: Path) -> None:
        """Replace the tables of a page, and the picture beside it."""
        results, scale, versions = self.whole()
        tables = short.table(results, scale), report.markdown(results, scale, versions)
        document.write(page, dict(zip(("short", "all"), tables, strict=True)))
        plot.draw(results, page.parent / "images" / "benchmarks.svg")


def _sizes(scale: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in scale.items() if name != "rounds"}


def _do(work: Work, servers: Servers, pythons: Pythons, run: Run, progress: Progress) -> None:
    """Run one work in rounds, the subjects in turns: a disturbance affects all of them."""
    scale, results, rounds = run.scale, run.results, run.rounds(work)
    for number in range(1, rounds + 1):
        for subject, python in pythons.items():
            if not work.suits(subject):
                continue
            what = f"{work.name}: {subject}, round {number} of {rounds}"
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


def _scale(options: argparse.Namespace) -> Scale:
    scale = Scale.quick(options.listeners or 100) if options.quick else Scale()
    given = {"listeners": options.listeners, "rounds": options.rounds}
    return dataclasses.replace(scale, **{name: value for name, value in given.items() if value})


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    names = [work.name for work in WORKS]
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__.splitlines()[1])
    parser.add_argument("--works", nargs="*", choices=names, default=names, metavar="WORK")
    parser.add_argument(
        "--subjects", nargs="+", default=[""], help="texts that their names contain"
    )
    parser.add_argument(
        "--rounds", type=int, help="rounds of each work (default 3; the median is shown)"
    )
    parser.add_argument("--listeners", type=int, help="streams (default 1,000)")
    parser.add_argument("--quick", action="store_true", help="small sizes, to try the harness")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--write", type=Path, metavar="PAGE", help="the page to write tables into")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
