"""The documentation as a site: it builds without a warning; its pages work on a code host."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.test_docs import ROOT

pytest.importorskip("mkdocs")
MarkdownIt = pytest.importorskip("markdown_it").MarkdownIt

BUILD_S = 120.0
pytestmark = [pytest.mark.gate, pytest.mark.timeout(2 * BUILD_S)]

CONFIGURATION = (ROOT / "mkdocs.yml").read_text()
NAVIGATION = CONFIGURATION.partition("\nnav:\n")[2].partition("\n\n")[0]
LISTED = re.findall(r"(\S+\.md)$", NAVIGATION, re.MULTILINE)
# What a reader sees as wrong if only one of the two renderers finds it.
ELEMENTS = {
    "li",
    "ul",
    "ol",
    "table",
    "tr",
    "pre",
    "blockquote",
    "h1",
    "h2",
    "h3",
    "img",
    "strong",
}


def build(into: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(into), *arguments],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "DOCS_URL": "https://docs.example.com/"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BUILD_S,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return the folder of the built site. Warnings are errors: a bad link, a bad anchor."""
    into = tmp_path_factory.mktemp("site")
    done = build(into)
    if done.returncode:
        pytest.fail(f"mkdocs build\n{done.stdout}{done.stderr}", pytrace=False)
    return into


def html_of(site: Path, page: str) -> Path:
    return site / ("" if page == "index.md" else page.removesuffix(".md")) / "index.html"


class Article(HTMLParser):
    """Counts the elements of a page's text."""

    def __init__(self, inside: bool = False) -> None:
        super().__init__()
        self.inside = inside
        self.found: Counter[str] = Counter()

    def handle_starttag(self, tag, attrs):
        self.inside = self.inside or tag == "article"
        if self.inside and tag in ELEMENTS:
            self.found[tag] += 1

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "article"


class Loaded(HTMLParser):
    """Collects the URLs that a browser loads with a page."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag in ("script", "img", "iframe"):
            self.urls.append(found.get("src") or "")
        elif tag == "link" and found.get("rel") in ("stylesheet", "icon", "preconnect"):
            self.urls.append(found.get("href") or "")


def test_each_page_is_in_the_navigation():
    pages = {path.name for path in (ROOT / "docs").glob("*.md")}
    missing = sorted(pages - set(LISTED))
    assert missing == [], f"add a line for each to `nav` in mkdocs.yml: {missing}"
    assert len(LISTED) == len(set(LISTED))


def test_each_page_of_the_navigation_is_built(site):
    assert [page for page in LISTED if not html_of(site, page).exists()] == []


def test_a_bad_link_and_a_bad_anchor_are_found(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# Here\n[a](there.md) [b](#nowhere) [c](#here)\n")
    rules = CONFIGURATION.partition("\nvalidation:\n")[2].partition("\n\n")[0]
    text = f"site_name: test\nstrict: true\nvalidation:\n{rules}\n"
    (tmp_path / "mkdocs.yml").write_text(text)
    done = build(tmp_path / "site", "--config-file", str(tmp_path / "mkdocs.yml"))
    assert done.returncode
    assert "'there.md'" in done.stderr
    assert "'#nowhere'" in done.stderr
    assert "'#here'" not in done.stderr


def test_pages_have_the_same_lists_tables_and_code_on_a_code_host(site):
    """Python-Markdown needs four blanks for what is nested in a list; CommonMark does not."""
    common = MarkdownIt("commonmark", {"html": True}).enable("table")
    different = {}
    for page in LISTED:
        here, there = Article(), Article(inside=True)
        here.feed(html_of(site, page).read_text())
        there.feed(common.render((site / page).read_text()))
        if here.found != there.found:
            different[page] = (here.found - there.found, there.found - here.found)
    assert different == {}


def test_the_reference_has_each_public_name(site):
    from docs.site import modules

    pages = modules.pages()
    assert {page.title for page in pages} >= {"shortcuts", "signals", "message"}
    rows = re.findall(r"^\| `(eric_sse_django[\w.]*)` \| (.*) \|$", modules.LIST.read_text(), re.M)
    assert len(pages) == len(rows)
    for page, (module, names) in zip(pages, rows, strict=True):
        text = html_of(site, page.path).read_text()
        headings = set(re.findall(r'<h2 id="([^"]+)"', text))
        described = set(re.findall(r"<code>a(\w+)\(\)</code> is the same", text))
        for name in re.findall(r"`(\w+)`", names):
            ids = {f"{module}.{name}", name.lower()}
            is_alias = f'id="{module}.{name}"' in text
            assert headings & ids or is_alias or name[1:] in described, f"{module}.{name}"


def test_programs_find_each_page_in_llms_txt(site):
    text = (site / "llms.txt").read_text()
    assert text.startswith("# eric_sse_django\n\n> ")
    urls = re.findall(r"^- \[[^\]]+\]\(https://docs\.example\.com/(\S+\.md)\)", text, re.MULTILINE)
    assert set(LISTED) <= set(urls)
    assert len(urls) == len(set(urls))
    assert [url for url in urls if not (site / url).read_text().startswith("# ")] == []


def test_the_search_finds_settings_and_functions(site):
    index = json.loads((site / "search" / "search_index.json").read_text())
    found = {entry["location"].partition("#")[0] for entry in index["docs"]}
    assert {"settings/", "modules/shortcuts/", "tutorial/"} <= found
    text = json.dumps(index["docs"])
    assert all(word in text for word in ("MAX_STREAMS_PER_USER", "users_online", "W030"))


def test_pages_load_nothing_from_other_hosts(site):
    for page in site.rglob("*.html"):
        loaded = Loaded()
        loaded.feed(page.read_text())
        others = [url for url in loaded.urls if re.match(r"https?:|//", url)]
        assert others == [], page
