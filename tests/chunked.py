"""HTTP/1.1's chunked transfer coding, read strictly. Does no I/O."""


class ChunkedDecoder:
    """
    Take a chunked body in pieces of any size, give its bytes.

    `complete` turns True with the last chunk; a body that ends without was cut off.
    """

    # See: RFC 9112, section 7.1

    def __init__(self) -> None:
        self.complete = False
        self._raw = b""
        self._at = 0  # in _raw: what is before it is done
        self._left = 0

    def feed(self, piece: bytes) -> bytes:
        """Return the body bytes found so far. Raises ValueError where the coding is broken."""
        self._raw, self._at = self._raw[self._at :] + piece, 0
        body = []
        while not self.complete:
            if self._left > 2:
                # Up to the CRLF that closes the chunk.
                data = self._raw[self._at : self._at + self._left - 2]
                body.append(data)
                self._at += len(data)
                self._left -= len(data)
                if self._left > 2:
                    break
            if not (self._close_chunk() if self._left else self._open_chunk()):
                break
        return b"".join(body)

    def _close_chunk(self) -> bool:
        """Take the CRLF after a chunk. Returns False if it has not come yet."""
        end = self._raw[self._at : self._at + 2]
        if len(end) < 2:
            return False
        if end != b"\r\n":
            raise ValueError(f"A chunk ends with {end!r} instead of CRLF.")
        self._at += 2
        self._left = 0
        return True

    def _open_chunk(self) -> bool:
        """Take a size line; the size 0 with its empty line completes the body."""
        end = self._raw.find(b"\r\n", self._at)
        if end < 0:
            return False
        size = int(self._raw[self._at : end].split(b";")[0], 16)
        if size == 0:
            if len(self._raw) < end + 4:
                return False
            self.complete = True
        self._at = end + 2
        self._left = size + 2
        return True
