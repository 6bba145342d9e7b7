"""
Many readers of streams in one process.

While they read, what arrives is kept with its time, and only counted by a byte that each payload
has once. Then every event is parsed, for all subjects alike: parsed while they read, the figures
of fast subjects would be those of the parser.
"""

from __future__ import annotations

import re
import select
import socket
import time
from array import array
from collections.abc import Callable, Sequence

from benchmarks.events import EventParser
from benchmarks.payload import MARK, now_ns
from benchmarks.tally import Tally, Wrong
from tests.chunked import ChunkedDecoder

# Connections opened at once: more would overflow the server's backlog.
OPENING = 50
# Bytes read at once; the kernel's buffer for a reader is not larger.
MAX_BYTES = 1 << 20
# Seconds of silence after which no more data is expected: when all messages were received, and
# when some are missing.
SILENCE_S, LOST_S = 0.3, 10.0

_NUMBER_AND_TIME = re.compile(MARK + rb"(\d+) (\d+) ")
_CHUNKED = re.compile(rb"(?im)^transfer-encoding: *chunked\r?$")


class ClientError(Exception):
    """A stream did not begin, or ended early."""


class Reader:
    """One connection: its socket, and the data received."""

    def __init__(self, connection: socket.socket, expected: int) -> None:
        self.socket = connection
        self.tally = Tally(expected)
        self.head = b""
        self.body_began = self.done = self.ended = False
        self.bytes = 0
        # Marks received, parsed or not; and those with which the goal may be reached.
        self.marks = self.marks_goal = 0
        self.reached_ns = 0  # when its tally last grew
        self.pieces: list[tuple[int, bytes]] = []  # that are not parsed yet, with their times
        self.parser = EventParser()
        self.decoder: ChunkedDecoder | None = None

    def has_head(self) -> bool:
        return b"\r\n\r\n" in self.head

    def body(self, piece: bytes) -> bytes:
        """Return a piece without the coding of its transfer."""
        return piece if self.decoder is None else self.decoder.feed(piece)


class Crowd:
    """
    Readers on one epoll; a context manager that closes them.

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
        self._missing = 0
        self._last_at = time.monotonic()
        self._buffer = bytearray(MAX_BYTES)
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
                return all(r.body_began or (r.has_head() and not greets) for r in made)

            if not self._pump(begun, patience_s):
                raise ClientError(
                    f"{sum(not r.body_began for r in made)} of {len(made)} streams did not begin "
                    f"within {patience_s:g} s; one answered {made[-1].head[:200]!r}"
                )

    def expect(self, count: int) -> Wrong:
        """Begin again: each reader expects the numbers below `count`. Return what was wrong."""
        wrong = self.wrong()
        for reader in self.readers:
            reader.tally = Tally(count)
        self._expected = count
        del self.delays_ns[:]
        return wrong

    def until(self, count: int, patience_s: float) -> float:
        """
        Return the time.monotonic() at which the last reader got its `count`-th message.

        Gives up after patience_s, or after LOST_S without data; then returns the time of the
        last receipt.
        """
        deadline = time.monotonic() + patience_s
        self._last_at = time.monotonic()
        while missing := self._behind(count):
            # Repeated messages have marks too: parse, and wait for as many as are missing.
            for reader, many in missing.items():
                reader.done, reader.marks_goal = False, reader.marks + many
            self._missing = len(missing)
            self._pump(self._is_over, deadline - time.monotonic())
            if self._missing > 0:
                break
        self.digest()
        return max((reader.reached_ns for reader in self.readers), default=now_ns()) / 1e9

    def _behind(self, count: int) -> dict[Reader, int]:
        """Return the readers that have fewer messages, and how many each of them misses."""
        self.digest()
        counts = {reader: count - reader.tally.count for reader in self.readers}
        return {reader: many for reader, many in counts.items() if many > 0}

    def _is_over(self) -> bool:
        return self._missing <= 0 or time.monotonic() - self._last_at > LOST_S

    def digest(self) -> None:
        """Parse what was received."""
        for reader in self.readers:
            pieces, reader.pieces = reader.pieces, []
            for at_ns, piece in pieces:
                self._take(reader, at_ns, piece)

    def read_for(self, seconds: float) -> None:
        """Continue to read for a time."""
        self._pump(lambda: False, seconds)

    def until_silent(self, patience_s: float = 10.0) -> None:
        """Read until no more data arrives, for example repeated messages."""
        deadline = time.monotonic() + patience_s
        before = -1
        while before != (before := self.received()) and time.monotonic() < deadline:
            self.read_for(SILENCE_S)

    def received(self) -> int:
        """Return the number of bytes received so far by all readers."""
        return sum(reader.bytes for reader in self.readers)

    def wrong(self) -> Wrong:
        """Return what all readers together missed, or got twice or out of order."""
        self.digest()
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
        try:
            size = reader.socket.recv_into(self._buffer)
        except BlockingIOError:
            return
        except ConnectionError:
            size = 0
        if not size:
            reader.ended = True
            self._epoll.unregister(reader.socket.fileno())
            return
        reader.bytes += size
        piece = bytes(self._view[:size])
        if not reader.body_began:
            piece = self._begin(reader, piece)
        if piece:
            self._keep(reader, piece)

    def _begin(self, reader: Reader, piece: bytes) -> bytes:
        """Read the headers; return the data that follows them."""
        reader.head += piece
        head, found, body = reader.head.partition(b"\r\n\r\n")
        if found and not head.startswith(b"HTTP/1.1 200"):
            raise ClientError(f"a stream was refused: {reader.head[:300]!r}")
        if not body:
            return b""
        reader.head, reader.body_began = head, True
        if _CHUNKED.search(head):
            reader.decoder = ChunkedDecoder()
        return body

    def _keep(self, reader: Reader, piece: bytes) -> None:
        at_ns = now_ns()
        reader.pieces.append((at_ns, piece))
        marks = piece.count(MARK)
        if not marks:
            return
        self._last_at = at_ns / 1e9
        reader.marks += marks
        if not reader.done and reader.marks >= reader.marks_goal:
            reader.done = True
            self._missing -= 1

    def _take(self, reader: Reader, at_ns: int, piece: bytes) -> int:
        """Count the messages of the events that end with a piece; return their number."""
        found = [
            each
            for event in reader.parser.feed(reader.body(piece))
            for each in _NUMBER_AND_TIME.findall(event.data)
        ]
        if self._timed:
            self.delays_ns.extend(at_ns - int(stamp) for _, stamp in found)
        if found:
            before = reader.tally.count
            reader.tally.add([number for number, _ in found])
            if reader.tally.count > before:
                reader.reached_ns = at_ns
        return len(found)

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        for reader in self.readers:
            reader.socket.close()
        self._epoll.close()
        self._view.release()
