"""A receiver of webhooks: a real HTTP server on loopback, which answers as a test wants it."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from tests.patience import PATIENCE_S


class Request(NamedTuple):
    """What was posted."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def data(self) -> Any:
        return json.loads(self.body)["data"]


# Returns the status and the headers of the answer.
Respond = Callable[[Request], "tuple[int, dict[str, str]]"]


class Receiver:
    """Keeps the requests in `requests`; `respond` may be replaced at any time."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.respond: Respond = lambda request: (204, {})
        self.url = ""
        self._changed = threading.Condition()

    def note(self, request: Request) -> tuple[int, dict[str, str]]:
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
        return self.respond(request)

    def wait_for(self, count: int) -> list[Any]:
        """Return the payloads of the requests, once there are so many."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.requests) >= count, PATIENCE_S)
        return self.payloads

    @property
    def payloads(self) -> list[Any]:
        return [request.data for request in self.requests]

    def answers(self, *statuses: int, **headers: str) -> None:
        """Answer with these statuses, one after another; the last one from then on."""
        left = list(statuses)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.respond = lambda request: (left.pop(0) if len(left) > 1 else left[0], named)


@contextmanager
def receiving(certificate: tuple[Any, Any] | None = None) -> Iterator[Receiver]:
    """Serve on a port of loopback: with TLS, if a certificate and its key are given."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, more = receiver.note(Request(self.path, headers, body))
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    scheme = "http"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*map(str, certificate))
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    receiver.url = f"{scheme}://127.0.0.1:{server.server_port}/hooks"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE_S)
