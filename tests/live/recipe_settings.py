"""The settings of the test site, with the templates and URLs of docs/pages.md."""

from typing import Any

from tests.settings import *  # noqa: F403
from tests.settings import TEMPLATES as INHERITED

_options: dict[str, Any] = {**INHERITED[0]["OPTIONS"]}  # type: ignore[dict-item]
_options["loaders"] = [
    "tests.live.recipes.RecipeLoader",
    "django.template.loaders.app_directories.Loader",
]
TEMPLATES = [{**INHERITED[0], "APP_DIRS": False, "OPTIONS": _options}]
ROOT_URLCONF = "tests.live.pages_asgi"
