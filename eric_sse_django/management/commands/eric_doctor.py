"""Examines the settings, the database, the fabric, and a stream through the public address."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandError, CommandParser

from eric_sse_django.doctor import ERROR, GOOD, NOTE, WARNING, Finding, examine
from eric_sse_django.doctor.finding import shown
from eric_sse_django.doctor.link import site_of
from eric_sse_django.management.command import OperatorCommand

MARKS = {GOOD: "✓", NOTE: "·", WARNING: "!", ERROR: "✗"}
# The lowest level that gives the exit status 1, by the value of --fail-level.
FAILING = {"error": {ERROR}, "warning": {ERROR, WARNING}, "never": set[str]()}


class Command(OperatorCommand):
    help = "Examines the settings, the database, the log, the clocks and what connects processes; "
    help += "with --url also a real stream through the site's public address, on a channel that "
    help += "exists for that time only. Each finding names the next step. Exit status 1 if one is "
    help += "an error."
    # It reports what the system checks find.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--url", help="The site's public address: https://www.example.com")
        parser.add_argument("--json", action="store_true", help="Print a JSON object.")
        parser.add_argument(
            "--fast", action="store_true", help="Do not wait for a heartbeat (HEARTBEAT_S)."
        )
        parser.add_argument("--insecure", action="store_true", help="Accept any certificate.")
        parser.add_argument(
            "--fail-level",
            choices=FAILING,
            default="error",
            help="From which level on the exit status is 1 (default: %(default)s).",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        found: list[Finding] = []
        _check_url(options["url"])
        for each in examine(
            options["url"], waits=not options["fast"], insecure=options["insecure"]
        ):
            found.append(each)
            if not options["json"]:
                self._show(each)
        failing = [each for each in found if each.level in FAILING[options["fail_level"]]]
        if options["json"]:
            result = {"healthy": not failing, "findings": [each.as_json() for each in found]}
            self.stdout.write(json.dumps(result, indent=2))
        else:
            bad = sum(each.level in (ERROR, WARNING) for each in found)
            self.stdout.write(f"\n{_problems(bad)} found.")
        if failing:
            raise SystemExit(1)

    def _show(self, found: Finding) -> None:
        style = {
            GOOD: self.style.SUCCESS,
            NOTE: self.style.HTTP_INFO,
            WARNING: self.style.WARNING,
            ERROR: self.style.ERROR,
        }[found.level]
        self.stdout.write(f"{style(MARKS[found.level])} {found.text} [{found.id}]")
        if found.next_step:
            self.stdout.write(f"    → {found.next_step}")
        self.stdout.flush()


def _problems(count: int) -> str:
    return "No problem" if not count else "1 problem" if count == 1 else f"{count} problems"


def _check_url(url: str | None) -> None:
    """Raise CommandError for what is not the address of a site."""
    if url is None:
        return
    try:
        site_of(url)
    except ValueError:
        text = f"--url is {shown(url)!r}: give an address such as https://www.example.com."
        raise CommandError(text) from None
