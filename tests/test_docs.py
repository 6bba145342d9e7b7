"""The documentation agrees with the code."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from docs import tables
from eric_sse_django import conf

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_pages_of_settings_and_commands_agree_with_the_code():
    page = (ROOT / "docs" / "settings.md").read_text()
    written = {"settings.md": tables.settings(page), "commands.md": tables.commands()}
    stale = [name for name, text in written.items() if (ROOT / "docs" / name).read_text() != text]
    assert stale == [], "run: python -m docs.tables"
    empty = re.findall(r"^.*\|\s*\|$", "\n".join(written.values()), re.MULTILINE)
    assert empty == [], "a setting or an argument has no meaning"


def test_the_first_settings_are_the_same_in_readme_and_exist():
    table = README.split("| name | meaning |\n|---|---|\n")[1].split("\n\n")[0]
    names = re.findall(r"^\| `(\w+)`", table, re.MULTILINE)
    section = (ROOT / "docs" / "settings.md").read_text().split("\n## ")[1]
    assert names == re.findall(r"^- \*\*`(\w+)`\*\*", section, re.MULTILINE)
    assert len(names) == 3
    assert set(names) <= conf.BY_NAME.keys()


def test_the_page_of_checks_has_each_id():
    code = "".join(path.read_text() for path in (ROOT / "eric_sse_django").rglob("*.py"))
    ids = set(re.findall(r"\"eric_sse_django\.([EWI]\d{3})\"", code))
    page = (ROOT / "docs" / "checks.md").read_text()
    assert set(re.findall(r"^\| `([EWI]\d{3})` \|", page, re.MULTILINE)) == ids


def test_the_readme_is_short():
    assert len(README.splitlines()) < 250


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_the_pages_exist(page):
    text = page.read_text()
    for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", text):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tests_that_the_pages_name_exist(page):
    for name in re.findall(r"(?<![\w/])tests/[\w/]+\.py(?:::\w+)*", page.read_text()):
        path, *names = name.split("::")
        assert (ROOT / path).exists(), f"{page.name} names {path}"
        text = (ROOT / path).read_text()
        for each in names:
            assert re.search(rf"(def|class) {each}\b", text), f"{page.name} names {name}"


def test_commands_of_the_reliability_page_select_tests():
    text = (ROOT / "docs" / "reliability.md").read_text()
    selections = re.findall(r"`(test_\w+\.py) -k (\w+)`", text)
    assert len(selections) > 10
    for name, word in selections:
        tests = (ROOT / "tests" / "live" / name).read_text()
        assert re.search(rf"def test_\w*{word}", tests), (
            f"no test of {name} has {word!r} in its name"
        )


def test_files_that_the_design_names_exist():
    names = re.findall(r"`((?:\w+/)+(?:\w+\.py)?)`", (ROOT / "docs" / "design.md").read_text())
    assert names
    places = [ROOT, ROOT / "eric_sse_django"]
    assert [n for n in names if not any((place / n).exists() for place in places)] == []


def test_each_behaviour_that_contributing_locates_has_its_file():
    table = (ROOT / "CONTRIBUTING.md").read_text().split("| behaviour | file |\n|---|---|\n")[1]
    files = re.findall(r"\| `([\w/]+\.py)` \|$", table.split("\n\n")[0], re.MULTILINE)
    assert len(files) >= 25
    assert [file for file in files if not (ROOT / "eric_sse_django" / file).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_python_of_the_pages_compiles_and_its_imports_exist(page):
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        tree = compile(
            block, page.name, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        )
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("eric_sse"):
                module = importlib.import_module(node.module)
                missing = [each.name for each in node.names if not hasattr(module, each.name)]
                assert missing == [], f"{page.name}: {node.module}"
