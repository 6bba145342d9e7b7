"""In a coroutine, the error of a method that queries the database names its async twin."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from django.core.exceptions import SynchronousOnlyOperation

Function = TypeVar("Function", bound=Callable[..., Any])
Class = TypeVar("Class", bound=type)


def has_twin(function: Function) -> Function:
    """Return the function with an error that names its async twin: `a` before its name."""

    @wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        try:
            return function(*args, **options)
        except SynchronousOnlyOperation as error:
            name = function.__name__
            raise SynchronousOnlyOperation(
                f"{name}() cannot query the database in an async context: `await a{name}(…)`."
            ) from error

    return call  # type: ignore[return-value]


def methods_have_twins(cls: Class) -> Class:
    """Return the class with has_twin() on each method that has an async twin."""
    for name in dir(cls):
        if name.startswith("_") or not hasattr(cls, f"a{name}"):
            continue
        found = inspect.getattr_static(cls, name)
        if isinstance(found, classmethod):
            setattr(cls, name, classmethod(has_twin(found.__func__)))
        elif inspect.isfunction(found):
            setattr(cls, name, has_twin(found))
    return cls
