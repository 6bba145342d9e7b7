"""docs/public-modules.md lists what projects may import; the changelog has this version."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from eric_sse_django import __version__
from tests.test_docs import PAGES, ROOT

PAGE = ROOT / "docs" / "public-modules.md"
ROWS = re.findall(r"^\| `(eric_sse_django[\w.]*)` \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
# `name`, but not `Class.method()`.
PUBLIC = {module: re.findall(r"`(\w+)`", names) for module, names in ROWS}


def imports(page: Path) -> set[tuple[str, str]]:
    """Return what the Python of a page imports of this package, as (module, name)."""
    found = set()
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        tree = compile(
            block, page.name, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        )
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("eric_sse_"):
                found |= {(str(node.module), each.name) for each in node.names}
    return found


@pytest.mark.parametrize("module", PUBLIC)
def test_each_public_name_exists(module):
    found = importlib.import_module(module)
    assert PUBLIC[module]
    assert [name for name in PUBLIC[module] if not hasattr(found, name)] == []


@pytest.mark.parametrize("module", PUBLIC)
def test_a_module_that_lists_its_names_lists_the_public_ones(module):
    listed = getattr(importlib.import_module(module), "__all__", None)
    assert listed is None or set(PUBLIC[module]) <= set(listed)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_pages_import_public_names_only(page):
    public = {(module, name) for module, names in PUBLIC.items() for name in names}
    public |= {tuple(module.rsplit(".", 1)) for module in PUBLIC}
    assert imports(page) - public == set()


def test_the_changelog_begins_with_this_version_or_the_unreleased_changes():
    versions = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    dated = [each for each in versions if each != "Unreleased"]
    assert re.fullmatch(rf"{re.escape(__version__)} - \d{{4}}-\d\d-\d\d", dated[0])
    assert versions.index(dated[0]) <= 1
