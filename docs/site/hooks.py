"""
Hooks of MkDocs: pages of the site that are not files in docs/, and links that work in both.

Pages in docs/ are written for a code host, with links to files of the repository: to README.md, to
tests. Here each link becomes one to the page of the site, or to the file on the code host.
"""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from docs.site import llms, modules  # noqa: E402 - MkDocs loads this file without its package

# Pages outside docs/, by their path in the repository: their path in the site.
OUTSIDE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "reporting.md",
    "benchmarks/README.md": "benchmarking.md",
}
SOURCE_OF = {site: path for path, site in OUTSIDE.items()}

# Pages without others beside them in the navigation: their text has its room.
ALONE = ("index.md", "tutorial.md")
# How much more, or less, than other pages these are meant by what a reader searches.
BOOSTS = {
    **dict.fromkeys(("guide.md", "deployment.md", "hosting.md", "settings.md"), 3),
    **dict.fromkeys(("tutorial.md", "browser.md", "stream.md", "compare.md"), 2),
    **dict.fromkeys(("changelog.md", "contributing.md", "benchmarking.md", "benchmarks.md"), 0.3),
    **dict.fromkeys(("releasing.md", "writing.md", "reliability.md"), 0.3),
}

FENCED = re.compile(r"(^```.*?^```\n?)", re.MULTILINE | re.DOTALL)
LINK = re.compile(
    r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!https?:|mailto:|#|<)([^)#\s]+)(#[^)\s]*)?\)"
)

TABLE = re.compile(r"<table>.*?</table>", re.DOTALL)
LONG_CODE = re.compile(r"<code>([^<]{20,})</code>")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the pages of the public modules to the section Reference."""
    [reference] = [each["Reference"] for each in config.nav or [] if "Reference" in each]
    groups: dict[str, list[dict[str, str]]] = {}
    for page in modules.pages():
        groups.setdefault(page.group, []).append({page.title: page.path})
    reference.extend({group: pages} for group, pages in groups.items())
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs/."""
    for path, site in OUTSIDE.items():
        files.append(File.generated(config, site, content=(ROOT / path).read_text()))
    for page in modules.pages():
        files.append(File.generated(config, page.path, content=page.text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return the page with links of the site, and keep it for llms.txt."""
    site = page.file.src_uri
    source = SOURCE_OF.get(site, f"docs/{site}")
    text = "".join(_relinked(markdown, source, site, config.repo_url or ""))
    llms.keep(page, text)
    if site in ALONE:
        page.meta["hide"] = ["navigation"]
    if site in BOOSTS:
        page.meta["search"] = {"boost": BOOSTS[site]}
    return text


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return the page with places in its tables at which a path may be continued below."""

    def broken(table: re.Match[str]) -> str:
        return LONG_CODE.sub(
            lambda code: re.sub(r"(?<=\w)[./](?=\w)", r"\g<0><wbr>", code[0]), table[0]
        )

    return TABLE.sub(broken, html)


def on_post_build(config: MkDocsConfig) -> None:
    """Write llms.txt, and each page as Markdown beside its HTML."""
    llms.write(Path(config.site_dir), config.site_url or "", config.nav or [])


def _relinked(markdown: str, source: str, site: str, repository: str) -> Iterator[str]:
    """Yield the parts of a page; code is not changed."""

    def link(found: re.Match[str]) -> str:
        picture, text, target, anchor = found.groups(default="")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        inside = OUTSIDE.get(path) or (path[5:] if path.startswith("docs/") else None)
        if inside:
            relative = posixpath.relpath(inside, posixpath.dirname(site) or ".")
            return f"{picture}[{text}]({relative}{anchor})"
        if not repository:
            return str(text)
        return f"[{text}]({repository.rstrip('/')}/blob/main/{path}{anchor})"

    for index, part in enumerate(FENCED.split(markdown)):
        yield part if index % 2 else LINK.sub(link, part)
