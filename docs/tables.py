"""
Write what is in both the code and the pages: `python -m docs.tables`.

docs/settings.md gets its table from conf, docs/commands.md is written from the commands' parsers.
tests/test_docs.py fails until the pages agree with the code.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import django
from django.core.management.base import BaseCommand

from eric_sse_django import conf

DOCS = Path(__file__).parent
USAGE_COLUMNS = 78
# The apps that have commands.
APPS = (
    "eric_sse_django",
    "eric_sse_django.runs",
    "eric_sse_django.contrib.undelivered",
    "eric_sse_django.contrib.webhooks",
)
HEADING = "| name | default | meaning |\n|---|---|---|\n"
COMMANDS = """# Commands

Commands of `manage.py`. Each also has `--help` and the options of every Django command. `python -m
docs.tables` writes this page from the commands.
"""


def settings(page: str) -> str:
    """Return the page of the settings with the table of the code."""
    rows = [f"| `{each.name}` | `{each.default!r}` | {each.meaning} |" for each in conf.SETTINGS]
    before, after = page.split(HEADING)
    rest = after.partition("\n\n")[2]
    return f"{before}{HEADING}" + "\n".join(rows) + ("\n\n" + rest if rest else "\n")


def commands() -> str:
    """Return the page of the commands."""
    found = {
        module.name: app
        for app in APPS
        for module in iter_modules(import_module(f"{app}.management.commands").__path__)
        if module.name.startswith("eric_")
    }
    return COMMANDS + "".join(_command(name, found[name]) for name in sorted(found))


def _command(name: str, app: str) -> str:
    module = import_module(f"{app}.management.commands.{name}")
    parser = module.Command().create_parser("manage.py", name)
    actions = list(_own(parser))
    usage = _wrapped(f"python manage.py {name}", map(_usage, actions))
    of = "" if app == APPS[0] else f"With `{app}` in `INSTALLED_APPS`. "
    text = f"\n## {name}\n\n{of}{_text(parser.description)}\n\n{usage}\n"
    rows = "".join(f"| `{_name(each)}` | {_meaning(parser, each)} |\n" for each in actions)
    return f"{text}\n| argument | meaning |\n|---|---|\n{rows}" if rows else text


def _own(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments that are the command's, and not of all commands."""
    common = {each.dest for each in BaseCommand().create_parser("manage.py", "")._actions}
    actions = [each for each in parser._actions if each.dest not in common]
    yield from sorted(actions, key=lambda each: (bool(each.option_strings), not each.required))


def _name(action: argparse.Action) -> str:
    return max(action.option_strings, key=len) if action.option_strings else action.dest


def _usage(action: argparse.Action) -> str:
    value = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    takes_value = action.option_strings and action.nargs != 0
    text = f"{_name(action)} {value}" if takes_value else _name(action)
    text += " …" if action.nargs in ("*", "+") else ""
    is_optional = not action.required or action.nargs in ("?", "*")
    return f"[{text}]" if is_optional else text


def _wrapped(command: str, arguments: Iterable[str]) -> str:
    """Return the usage in lines that fit on a narrow page, as a block of code."""
    lines = [f"    {command}"]
    for each in arguments:
        if len(lines[-1]) + len(each) > USAGE_COLUMNS:
            lines[-1] += " \\"
            lines.append("       ")
        lines[-1] += f" {each}"
    return "\n".join(lines)


def _meaning(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    shown = _text(parser._get_formatter()._expand_help(action)) if action.help else ""
    if action.choices:
        choices = ", ".join(f"`{each}`" for each in action.choices)
        shown = f"One of {choices}. {shown}".strip()
    return shown.replace("|", "\\|")


def _text(text: str | None) -> str:
    return " ".join((text or "").split())


def main() -> None:
    """Write both pages."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    page = DOCS / "settings.md"
    page.write_text(settings(page.read_text()))
    (DOCS / "commands.md").write_text(commands())


if __name__ == "__main__":
    main()
