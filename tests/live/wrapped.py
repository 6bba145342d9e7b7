"""The ASGI application below a middleware of each shape, by ERIC_SSE_TEST_WRAPPER."""

from __future__ import annotations

import functools
import os
from typing import Any

from tests.asgi import application as inner


def closure(application: Any) -> Any:
    async def wrapper(scope: Any, receive: Any, send: Any) -> None:
        async def counting(message: Any) -> None:
            await send(message)

        await application(dict(scope), receive, counting)

    return wrapper


def wraps(application: Any) -> Any:
    async def wrapper(scope: Any, receive: Any, send: Any) -> None:
        @functools.wraps(send)
        async def counting(message: Any) -> None:
            await send(message)

        async def hearing() -> Any:
            return await receive()

        await application(scope, hearing, counting)

    return wrapper


class Sender:
    """What wraps one send(), as an object."""

    __slots__ = ("count", "inner")

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.count = 0

    async def send(self, message: Any) -> None:
        self.count += 1
        await self.inner(message)

    async def __call__(self, message: Any) -> None:
        await self.send(message)


class Method:
    """A middleware that passes on a bound method, or the object itself."""

    def __init__(self, application: Any, kind: str) -> None:
        self.application, self.kind = application, kind
        self.sent: dict[str, Any] = {"nothing": None}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        sender = Sender(send)
        await self.application(scope, receive, sender.send if self.kind == "method" else sender)


def task(application: Any) -> Any:
    """Run the application in a separate task, and pass on what it sends through a queue."""
    import asyncio

    async def wrapper(scope: Any, receive: Any, send: Any) -> None:
        queue: asyncio.Queue[Any] = asyncio.Queue(1)
        running = asyncio.ensure_future(application(scope, receive, queue.put))
        try:
            while True:
                getting = asyncio.ensure_future(queue.get())
                await asyncio.wait({getting, running}, return_when=asyncio.FIRST_COMPLETED)
                if not getting.done():
                    getting.cancel()
                    break
                await send(getting.result())
        finally:
            running.cancel()

    return wrapper


def opentelemetry(application: Any) -> Any:
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

    return OpenTelemetryMiddleware(application)


def starlette(application: Any) -> Any:
    from starlette.middleware.base import BaseHTTPMiddleware

    async def dispatch(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    return BaseHTTPMiddleware(application, dispatch)


def sentry(application: Any) -> Any:
    import sentry_sdk
    from sentry_sdk.integrations.asgi import SentryAsgiMiddleware

    # Else it imports each framework for agents that the tests of runs install: 6 s.
    sentry_sdk.init(dsn=None, traces_sample_rate=1.0, auto_enabling_integrations=False)
    return SentryAsgiMiddleware(application)


def wrapped(kind: str) -> Any:
    """Return the application below a middleware of that shape."""
    if kind in ("method", "object"):
        return Method(inner, kind)
    if kind == "twice":
        return closure(Method(wraps(inner), "object"))
    return globals()[kind](inner)


application = wrapped(os.environ["ERIC_SSE_TEST_WRAPPER"])
