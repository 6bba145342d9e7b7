"""The blocks of docs/pages.md: the settings, and of each recipe its Python and its templates."""

from __future__ import annotations

import re
from contextvars import ContextVar
from typing import Any, NamedTuple

from django.template import Origin, TemplateDoesNotExist
from django.template.loaders.base import Loader

from tests.live.asgi_servers import ROOT

PAGE = (ROOT / "docs" / "pages.md").read_text()
_BLOCK = re.compile(r"(?:^`([\w.]+)`\n\n)?^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


class Recipe(NamedTuple):
    """A section: its Python, and its templates by name; that of the page is "page.html"."""

    python: str
    templates: dict[str, str]


def name_of(title: str) -> str:
    """Return the name of a recipe in paths and modules."""
    return title.lower().replace(" ", "_")


def _sections() -> dict[str, str]:
    first, *others = re.split(r"^## (.+)$", PAGE, flags=re.MULTILINE)
    return {"": first, **dict(zip(map(name_of, others[::2]), others[1::2], strict=True))}


def settings() -> dict[str, Any]:
    """Return ERIC_SSE of the page's first block."""
    found: dict[str, Any] = {}
    exec(_BLOCK.findall(_sections()[""])[0][2], found)
    return dict(found["ERIC_SSE"])


def recipes() -> dict[str, Recipe]:
    """Return the recipes by name."""
    found = {}
    for name, text in _sections().items():
        blocks = _BLOCK.findall(text)
        python = "".join(code for _, language, code in blocks if language == "python")
        templates = {
            title or "page.html": code for title, language, code in blocks if language == "django"
        }
        if name:
            found[name] = Recipe(python, templates)
    return found


current: ContextVar[str] = ContextVar("current", default="")


class RecipeLoader(Loader):
    """Loads the templates of the page; "page.html" is that of the recipe of the request."""

    def get_template_sources(self, template_name: str) -> Any:
        yield Origin(template_name, template_name, self)

    def get_contents(self, origin: Any) -> str:
        found = recipes()
        first = found[current.get()].templates if current.get() else {}
        for templates in (first, *(each.templates for each in found.values())):
            if origin.template_name in templates:
                return str(templates[origin.template_name])
        raise TemplateDoesNotExist(origin)
