"""Many readers of streams in one process, cheap enough not to dominate the figures."""

from __future__ import annotations

import re
import select
import socket
import time
from array import array
from collections.abc import Callable, Sequence

from benchmarks.payload import now_ns
from benchmarks.tally import Tally, Wrong

# Connections opened at once: more would overflow the server's backlog.
OPENING = 50
# Bytes read at once; the kernel's buffer for a reader is not larger.
MAX_BYTES = 1 << 20
# Seconds of silence after which no more data is expected: when all messages were received, and
# when some are missing.
SILENCE_S, LOST_S = 0.3, 10.0

_NUMBER = re.compile(rb"#(\d+) \d+ ")
_NUMBER_AND_TIME = re.compile(rb"#(\d+) (\d+) ")


class ClientError(Exception):
    """A stream did not begin, or ended early."""


class Reader:
    """One connection: its socket, and the data received."""

    __slots__ = ("body_began", "bytes", "done", "ended", "head", "rest", "socket", "tally")

    def __init__(self, connection: socket.socket, expected: int) -> None:
        self.socket = connection
        self.tally = Tally(expected)
        self.head = b""
        self.body_began = self.done = self.ended = False
        self.rest = b""
        self.bytes = 0


class Crowd:
    """
    Readers on one epoll; a context manager that closes them.

    Chunks are not decoded: a server's chunk ends with an event, but a proxy's may end anywhere,
    so behind a proxy `protocol` has to be HTTP/1.0.

    Data is read only inside its methods, each of which gives up after its patience.
    """

    protocol = "HTTP/1.1"

    def __init__(self, port: int, expected: int, timed: bool = False) -> None:
        """Each reader expects `expected` messages; `timed` records the delay of each."""
        self.readers: list[Reader] = []
        self.delays_ns = array("q")
        self._port, self._expected, self._timed = port, expected, timed
        self._epoll = select.epoll()
        self._by_fd: dict[int, Reader] = {}
        self._goal, self._missing = expected, 0
        self._last_at = time.monotonic()
        self._buffer = bytearray(MAX_BYTES + 4_096)
        self._view = memoryview(self._buffer)

    def open(self, paths: Sequence[str], greets: bool, patience_s: float = 60.0) -> None:
        """
        Open a stream for each path and return when all have begun.

        A stream has begun with the first byte of its body, or (not `greets`) with its headers.
        Raises ClientError.
        """
        for start in range(0, len(paths), OPENING):
            made = [self._connect(path) for path in paths[start : start + OPENING]]

            def begun(made: list[Reader] = made) -> bool:
                return all(r.body_began or (r.head and not greets) for r in made)

            if not self._pump(begun, patience_s):
                raise ClientError(
                    f"{sum(not r.body_began for r in made)} of {len(made)} streams did not begin "
                    f"within {patience_s:g} s; one answered {made[-1].head[:200]!r}"
                )

    def until(self, count: int, patience_s: float) -> float:
        """
        Return the time.monotonic() at which every reader had `count` messages.

        Gives up after patience_s, or after LOST_S without data; then returns the time of the
        last receipt.
        """
        self._goal, self._missing = count, 0
        self._last_at = time.monotonic()
        for reader in self.readers:
            reader.done = reader.tally.count >= count
            self._missing += not reader.done
        self._pump(self._is_over, patience_s)
        return self._last_at

    def _is_over(self) -> bool:
        return self._missing <= 0 or time.monotonic() - self._last_at > LOST_S

    def read_for(self, seconds: float) -> None:
        """Continue to read for a time."""
        self._pump(lambda: False, seconds)

    def until_silent(self, patience_s: float = 10.0) -> None:
        """Read until no more data arrives, for example repeated messages."""
        deadline = time.monotonic() + patience_s
        before = -1
        while before != (before := self.bytes()) and time.monotonic() < deadline:
            self.read_for(SILENCE_S)

    def bytes(self) -> int:
        """Return the number of bytes received so far by all readers."""
        return sum(reader.bytes for reader in self.readers)

    def wrong(self) -> Wrong:
        """Return what all readers together missed, or got twice or out of order."""
        return sum((reader.tally.wrong() for reader in self.readers), Wrong())

    def _connect(self, path: str) -> Reader:
        connection = socket.create_connection(("127.0.0.1", self._port), timeout=30)
        head = (
            f"GET {path} {self.protocol}\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
        )
        connection.sendall(head.encode())
        connection.setblocking(False)
        reader = Reader(connection, self._expected)
        self.readers.append(reader)
        self._by_fd[connection.fileno()] = reader
        self._epoll.register(connection.fileno(), select.EPOLLIN)
        return reader

    def _pump(self, ready: Callable[[], bool], patience_s: float) -> bool:
        """Read until it is ready; False when that took longer than patience_s."""
        deadline = time.monotonic() + patience_s
        while not ready():
            pause = deadline - time.monotonic()
            if pause <= 0:
                return False
            for fd, _ in self._epoll.poll(min(pause, 0.1)):
                self._read(self._by_fd[fd])
        return True

    def _read(self, reader: Reader) -> None:
        rest = len(reader.rest)
        self._buffer[:rest] = reader.rest
        try:
            size = reader.socket.recv_into(self._view[rest:], MAX_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            size = 0
        if not size:
            reader.ended = True
            self._epoll.unregister(reader.socket.fileno())
            return
        reader.bytes += size
        upto = rest + size
        if not reader.body_began:
            self._begin(reader, upto)
        elif self._take(reader, upto) and not reader.done and reader.tally.count >= self._goal:
            reader.done = True
            self._missing -= 1

    def _begin(self, reader: Reader, upto: int) -> None:
        """Read the headers, and the data that follows them."""
        whole = bytes(self._view[:upto])
        head, found, body = whole.partition(b"\r\n\r\n")
        reader.rest = whole
        if found and not head.startswith(b"HTTP/1.1 200"):
            raise ClientError(f"a stream was refused: {whole[:300]!r}")
        if found:
            reader.head = head
        if found and body:
            reader.body_began = True
            self._take(reader, upto)

    def _take(self, reader: Reader, upto: int) -> int:
        """Count the complete messages in the buffer; keep the rest. Return their number."""
        data = self._view[:upto]
        if self._timed:
            now, found = now_ns(), _NUMBER_AND_TIME.findall(data)
            self.delays_ns.extend(now - int(stamp) for _, stamp in found)
            numbers = [number for number, _ in found]
        else:
            numbers = _NUMBER.findall(data)
        last = self._buffer.rfind(b"#", 0, upto)
        whole = last < 0 or _NUMBER.match(self._buffer, last, upto) is not None
        reader.rest = b"" if whole else bytes(data[last:])
        if numbers:
            self._last_at = time.monotonic()
            reader.tally.add(numbers)
        return len(numbers)

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        for reader in self.readers:
            reader.socket.close()
        self._epoll.close()
        self._view.release()
