"""Async twins: a method that queries the database has one to await, with the prefix `a`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation

Function = TypeVar("Function", bound=Callable[..., Any])
Class = TypeVar("Class", bound=type)
P = ParamSpec("P")
T = TypeVar("T")


def twin_of(method: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Return the async twin of a method. It calls the method of that name, also a subclass's."""
    name = method.__name__

    async def twin(self: Any, *args: Any, **options: Any) -> Any:
        return await sync_to_async(getattr(self, name))(*args, **options)

    return _named(twin, method)


def twin_of_function(function: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Return the async twin of a function."""

    async def twin(*args: Any, **options: Any) -> Any:
        return await sync_to_async(function)(*args, **options)

    return _named(twin, function)


def _named(twin: Any, function: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    named: Any = wraps(function)(twin)
    name = function.__name__
    named.__name__, named.__doc__ = f"a{name}", f"As {name}()."
    named.__qualname__ = f"{function.__qualname__.removesuffix(name)}a{name}"
    return named  # type: ignore[no-any-return]


def has_twin(function: Function) -> Function:
    """Return the function with an error, in a coroutine, that names its async twin."""

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
