"""A real ASGI server on a thread of the test's process, for browsers."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.test import TransactionTestCase, modify_settings

from eric_sse_django.closing import close_all
from eric_sse_django.conf import database
from eric_sse_django.hub import Hub
from eric_sse_django.log import log_dialect
from eric_sse_django.testing.stream import project_application

HOST = "127.0.0.1"
# Seconds in which the server starts, and in which its streams end.
START_S = 10.0
END_S = 10.0

IN_MEMORY = (
    "The database {0!r} is in memory, and the server's threads cannot use it: store the test "
    'database in a file, DATABASES[{0!r}]["TEST"] = {{"NAME": BASE_DIR / "test.sqlite3"}}.'
)


class LiveServer:
    """
    Daphne on a thread: one for the process, since its reactor runs once.

    Between serve() and pause() it serves an application; else it answers 503.
    """

    def __init__(self) -> None:
        self._application: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()
        self._server: Any = None

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://{HOST}:{self._server.listening_addresses[0][1]}"

    def serve(self, application: Any) -> None:
        """Serve an application; the first call starts the thread."""
        if log_dialect().is_in_memory:
            raise ImproperlyConfigured(IN_MEMORY.format(database()))
        if self._server is None:
            self._start()
        self._application = application

    def pause(self) -> None:
        """End all streams, with what they write to the database, and answer 503."""
        self._application = None
        if self._loop is not None:
            ending = asyncio.run_coroutine_threadsafe(Hub.close_all(), self._loop)
            ending.result(END_S)

    def _start(self) -> None:
        # Not before: it installs Twisted's reactor.
        from daphne.server import Server  # noqa: PLC0415

        self._server = Server(
            self._answer,
            endpoints=[f"tcp:port=0:interface={HOST}"],
            signal_handlers=False,
            verbosity=0,
        )
        threading.Thread(target=self._run, name="eric-sse-live", daemon=True).start()
        if not self._ready.wait(START_S) or not self._server.listening_addresses:
            raise RuntimeError("Daphne did not start: does another library run Twisted's reactor?")

    def _run(self) -> None:
        from twisted.internet import reactor  # noqa: PLC0415

        given: Any = reactor
        self._loop = given._asyncioEventloop
        given.callWhenRunning(self._ready.set)
        self._server.run()

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        application = self._application
        if application is not None:
            await application(scope, receive, send)
        elif scope["type"] == "http":
            await send({"type": "http.response.start", "status": 503, "headers": []})
            await send({"type": "http.response.body", "body": b"No test runs.\n"})
        else:
            await send({"type": "websocket.close"})


live_server = LiveServer()


def with_static_files(application: Any = None) -> Any:
    """Return an application (None: the project's) that serves static files too, as runserver."""
    application = application or project_application()
    if "django.contrib.staticfiles" not in settings.INSTALLED_APPS:
        return application
    from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler  # noqa: PLC0415 - an app

    return ASGIStaticFilesHandler(application)


class LiveStreamTestCase(TransactionTestCase):
    """
    Django's LiveServerTestCase with streams: pages and streams at `live_server_url`.

    `application` is that of ASGI_APPLICATION by default; a function has to be a staticmethod.
    Streams end before the tables are emptied.
    """

    application: Any = None

    @property
    def live_server_url(self) -> str:
        """The server's address, without a slash at the end."""
        return live_server.url

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        allowed = modify_settings(ALLOWED_HOSTS={"append": HOST})
        allowed.enable()
        cls.addClassCleanup(allowed.disable)
        cls.addClassCleanup(end)
        cls._serve()

    @classmethod
    def _serve(cls) -> None:
        live_server.serve(with_static_files(cls.application))

    def _fixture_teardown(self) -> None:
        """Empty the tables, while no stream writes to them."""
        end()
        super()._fixture_teardown()  # type: ignore[misc]
        self._serve()


def end() -> None:
    """End the server's streams, and the app's threads."""
    live_server.pause()
    close_all()
