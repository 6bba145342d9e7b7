"""
A site with the recipes of docs/pages.md, each below its name: `/typing/`, `/typing/typing/`.

`/login/ada` logs a user in. `/call/toasts/toast?["text"]` calls a function of a recipe.
"""

from __future__ import annotations

import json
import sys
from types import ModuleType
from urllib.parse import unquote

from tests.live.admin_asgi import application

from django.contrib.auth import get_user_model, login  # isort: skip - Django is set up above
from django.db import connection, models  # isort: skip
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse  # isort: skip
from django.urls import path  # isort: skip

from eric_sse_django import conf  # isort: skip
from eric_sse_django.database import DatabaseChannel  # isort: skip
from tests.live.recipes import Recipe, current, recipes  # isort: skip

__all__ = ["application", "urlpatterns"]


def _run(name: str, recipe: Recipe) -> ModuleType:
    module = ModuleType(f"tests.shop.documented.{name}")  # in an app, for its models
    sys.modules[module.__name__] = module
    exec(compile(recipe.python, f"docs/pages.md {name}", "exec"), module.__dict__)
    tables = connection.introspection.table_names()  # of a server that ran before, too
    for each in list(vars(module).values()):
        is_model = isinstance(each, type) and issubclass(each, models.Model)
        if is_model and each._meta.db_table not in tables:
            with connection.schema_editor() as editor:
                editor.create_model(each)
    return module


for _name, _options in conf.channels().items():
    DatabaseChannel.get_or_create(_name, **_options)
MODULES = {name: _run(name, recipe) for name, recipe in recipes().items()}


def log_in(request: HttpRequest, user: str) -> HttpResponse:
    found, _ = get_user_model().objects.get_or_create(username=user)
    login(request, found, backend="django.contrib.auth.backends.ModelBackend")
    return HttpResponse("<!doctype html><title>in</title>")


def view(request: HttpRequest, recipe: str, function: str = "page") -> HttpResponse:
    if recipe not in MODULES:
        raise Http404
    current.set(recipe)
    found: HttpResponse = getattr(MODULES[recipe], function)(request)
    return found


def call(request: HttpRequest, recipe: str, code: str) -> HttpResponse:
    """Evaluate an expression in the module of a recipe."""
    users = {each.username: each for each in get_user_model().objects.all()}
    names = {**MODULES[recipe].__dict__, **users}
    result = eval(unquote(request.META["QUERY_STRING"]), names)
    return JsonResponse(json.dumps(result, default=repr), safe=False)


urlpatterns = [
    path("login/<user>", log_in),
    path("call/<recipe>/<code>", call),
    path("<recipe>/", view),
    path("<recipe>/<function>/", view),
]
