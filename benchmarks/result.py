"""The results of all rounds: medians, ratios, and whether targets are met."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from benchmarks.subject import BARE, OURS, Subject
from benchmarks.tally import Wrong
from benchmarks.work import Found, Measure, Work


@dataclass
class Row:
    """One measure of one subject. `ratios` has one for each round with a ceiling."""

    work: Work
    measure: Measure
    subject: Subject
    rounds: list[float]
    ratios: list[float]
    wrong: Wrong

    @property
    def figure(self) -> float:
        return median(self.rounds)

    @property
    def ratio(self) -> float | None:
        return median(self.ratios) if self.ratios else None

    @property
    def target(self) -> str:
        """The target as text; "" if there is none for this subject."""
        return str(self.measure.target) if self._has_target() else ""

    @property
    def met(self) -> bool | None:
        """Whether this app reaches its target; None for other subjects, and without a target."""
        target = self.measure.target
        if target is None or not self._has_target():
            return None
        return target.met(self.figure, self.ratio)

    def _has_target(self) -> bool:
        databases = (None, self.subject.database)
        return (
            self.measure.target is not None
            and self.subject.name == OURS
            and self.measure.target_for in databases
        )


class Results:
    """The results so far, by work and subject."""

    def __init__(self) -> None:
        self.skipped: dict[str, str] = {}
        self._found: dict[tuple[str, Subject], list[Found]] = {}
        self._works: dict[str, Work] = {}

    def add(self, work: Work, subject: Subject, found: Found) -> None:
        self._works[work.name] = work
        self._found.setdefault((work.name, subject), []).append(found)

    def as_dict(self) -> dict[str, Any]:
        """Return the figures of every round, by work and subject, for from_dict()."""
        works: dict[str, dict[str, Any]] = {}
        for (name, subject), rounds in self._found.items():
            works.setdefault(name, {})[str(subject)] = [asdict(found) for found in rounds]
        return works

    def take(
        self, found: Mapping[str, Any], works: Iterable[Work], subjects: Iterable[Subject]
    ) -> None:
        """Add what as_dict() returned, in the order of the works."""
        by_name = {str(subject): subject for subject in subjects}
        for work in works:
            for name, rounds in found.get(work.name, {}).items():
                for each in rounds if name in by_name else ():
                    wrong = Wrong(**each["wrong"])
                    self.add(work, by_name[name], Found(each["figures"], wrong))

    def skip(self, what: object, reason: str) -> None:
        """Record what was not measured, or not completely."""
        self.skipped[str(what)] = reason

    @property
    def works(self) -> list[Work]:
        """The works that have figures."""
        return list(self._works.values())

    def rows(self, work: Work) -> list[Row]:
        """Return the rows of one work: for each measure, one row for each subject."""
        subjects = [subject for name, subject in self._found if name == work.name]
        rows = [self._row(work, each, subject) for each in work.measures for subject in subjects]
        return [row for row in rows if row.rounds]

    def ours_is_wrong(self) -> bool:
        """Whether this app lost, repeated or disordered a message."""
        return any(
            found.wrong
            for (_, subject), rounds in self._found.items()
            for found in rounds
            if subject.name == OURS
        )

    def _row(self, work: Work, measure: Measure, subject: Subject) -> Row:
        rounds = self._found[work.name, subject]
        figures = [each.figures[measure.name] for each in rounds if measure.name in each.figures]
        wrong = sum((each.wrong for each in rounds), Wrong())
        ratios = [
            own / ceiling
            for own, ceiling in zip(figures, self._ceilings(work, measure, subject), strict=False)
            if ceiling
        ]
        return Row(work, measure, subject, figures, ratios, wrong)

    def _ceilings(self, work: Work, measure: Measure, subject: Subject) -> list[float]:
        """Return the ceiling of each round, which was measured in the same round."""
        beside, name = [self._found[work.name, subject]], measure.ceiling or ""
        if measure.ceiling == BARE:
            name = measure.name
            beside = (
                []
                if subject.name == BARE
                else [
                    found
                    for (work_name, other), found in self._found.items()
                    if (work_name, other.name, other.server) == (work.name, BARE, subject.server)
                ]
            )
        return [each.figures.get(name, 0.0) for found in beside for each in found]
