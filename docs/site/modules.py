"""The pages of the public modules: exactly the names of docs/public-modules.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIST = ROOT / "docs" / "public-modules.md"
ROW = re.compile(r"^\| `(eric_sse_django[\w.]*)` \| (.*) \|$", re.MULTILINE)
ERIC = "The [API of eric-sse]"
DIRECTIVE = "::: {name}\n"
# Modules whose classes are named in settings and sites: their methods are Django's.
CLASSES_ONLY = {"eric_sse_django.admin", "eric_sse_django.health.checks"}
# Shows a module's docstring without the names in it.
INTRODUCTION = """::: {name}
    options:
      members: false
      show_root_heading: false
      show_root_toc_entry: false
"""


@dataclass(frozen=True)
class ModulePage:
    """A page of the reference: one public module."""

    title: str
    group: str
    path: str
    text: str


@cache
def pages() -> list[ModulePage]:
    """Return a page for each module, in the order of docs/public-modules.md."""
    durable, _, eric = LIST.read_text().partition(ERIC)
    groups = (("Python modules", durable), ("API of eric-sse", eric))
    return [
        _page(module, re.findall(r"`(\w+)`", names), group)
        for group, text in groups
        for module, names in ROW.findall(text)
    ]


def _page(module: str, names: list[str], group: str) -> ModulePage:
    title = module.removeprefix("eric_sse_django.")
    listed = [name for name in names if not _is_twin(name, names)]
    parts = [f"# {module}\n", INTRODUCTION.format(name=module)]
    parts += [_entry(module, name, names) for name in listed]
    return ModulePage(title, group, f"modules/{title}.md", "\n".join(parts))


def _is_twin(name: str, names: list[str]) -> bool:
    """Whether a name is the coroutine function of another one: `apublish` of `publish`."""
    return name.startswith("a") and name[1:] in names


def _entry(module: str, name: str, names: list[str]) -> str:
    kind, code = _defined(module).get(name, (None, ""))
    if kind is None or kind is ast.Assign:
        shown = f"\n```python\n{code}\n```\n" if code and "\n" not in code else ""
        entry = f"## `{name}`\n{shown}"
    else:
        options = "    options:\n      members: false\n" if module in CLASSES_ONLY else ""
        entry = DIRECTIVE.format(name=f"{module}.{name}") + options
    if f"a{name}" in names:
        entry += f"\n`a{name}()` is the same as a coroutine function.\n"
    return entry


@cache
def _defined(module: str) -> dict[str, tuple[type[ast.stmt], str]]:
    """Return the kind and the code of what defines or imports each name of a module."""
    path = ROOT / Path(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = file.read_text()
    found: dict[str, tuple[type[ast.stmt], str]] = {}
    for node in _statements(ast.parse(text).body):
        code = ast.get_source_segment(text, node) or ""
        for name in _names(node):
            found[name] = (type(node), code)
    return found


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a module, and those below an `if TYPE_CHECKING`."""
    for node in body:
        yield node
        if isinstance(node, ast.If):
            yield from _statements(node.body)


def _names(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
    elif isinstance(node, ast.ImportFrom):
        yield from (each.asname or each.name for each in node.names)
    elif isinstance(node, ast.Assign):
        yield from (each.id for each in node.targets if isinstance(each, ast.Name))
