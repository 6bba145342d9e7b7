"""A relay before the server of a test, which changes what passes, or keeps what should end."""

import select
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

BYTES = 65_536


def _same(data: bytes) -> bytes:
    return data


@contextmanager
def relay(
    upstream: str,
    *,
    request: Callable[[bytes], bytes] = _same,
    answer: Callable[[bytes], bytes] = _same,
    keeps: bool = False,
) -> Iterator[str]:
    """
    Yield the URL of a relay to `upstream`.

    `request` and `answer` change the first bytes of each direction. One that `keeps` leaves its
    connections to the server open when clients leave.
    """
    kept: list[socket.socket] = []

    class Relay(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            server = socket.create_connection(("127.0.0.1", urlsplit(upstream).port))
            kept.append(server)
            server.sendall(request(self.request.recv(BYTES)))
            change = answer
            while True:
                readable, _, _ = select.select([server, self.request], [], [])
                piece = readable[0].recv(BYTES)
                if not piece:
                    break
                if readable[0] is server:
                    self.request.sendall(change(piece))
                    change = _same
            if not keeps:
                server.close()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Relay) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            for each in kept:
                each.close()
