"""A local server with the parts of OpenAI's HTTP API that recipes use: no key, no network."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.live.runs_words import text, word

# What it answers: words, and the seconds between two. A background response continues without
# its client.
WORDS, PAUSE_S = 120, 0.03
ANSWER = text(WORDS)


@dataclass
class FakeOpenAI:
    """A context manager. `responses` has when each response was created."""

    responses: dict[str, float] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def __enter__(self) -> FakeOpenAI:
        handler = type("Handler", (_Handler,), {"fake": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def events(self, response_id: str) -> Iterator[dict[str, Any]]:
        """Yield all events of a response, each when it is due."""
        began = self.responses[response_id]
        response = {"id": response_id, "object": "response", "output": [], "model": "gpt-5.5"}
        yield {"type": "response.created", "response": {**response, "status": "in_progress"}}
        part = {"item_id": "m", "output_index": 0, "content_index": 0, "logprobs": []}
        for index in range(WORDS):
            time.sleep(max(0.0, began + index * PAUSE_S - time.monotonic()))
            yield {"type": "response.output_text.delta", "delta": word(index), **part}
        yield {"type": "response.completed", "response": {**response, "status": "completed"}}


class _Handler(BaseHTTPRequestHandler):
    fake: FakeOpenAI

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.fake.requests.append(f"POST {self.path}")
        if self.path.endswith("/chat/completions"):
            self._stream(_completion())
            return
        response_id = f"resp_{len(self.fake.responses)}"
        self.fake.responses[response_id] = time.monotonic()
        assert body["stream"]
        self._stream(_numbered(self.fake.events(response_id), -1))

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.fake.requests.append(f"GET {url.path}")
        after = int(parse_qs(url.query).get("starting_after", ["-1"])[0])
        self._stream(_numbered(self.fake.events(url.path.rpartition("/")[2]), after))

    def _stream(self, events: Iterator[dict[str, Any] | str]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        try:
            for event in events:
                data = event if isinstance(event, str) else json.dumps(event)
                name = "" if isinstance(event, str) else f"event: {event.get('type', '')}\n"
                self.wfile.write(f"{name}data: {data}\n\n".encode())
        except ConnectionError:
            pass  # the client was killed

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


def _numbered(events: Iterator[dict[str, Any]], after: int) -> Iterator[dict[str, Any]]:
    for number, event in enumerate(events):
        if number > after:
            yield {**event, "sequence_number": number}


def _completion() -> Iterator[dict[str, Any] | str]:
    made = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "gpt-5.5"}
    for index in range(WORDS):
        time.sleep(PAUSE_S / 3)
        delta = {"role": "assistant", "content": word(index)}
        yield {**made, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    last = {"index": 0, "delta": {}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": WORDS, "total_tokens": WORDS + 1}
    yield {**made, "choices": [last], "usage": usage}
    yield "[DONE]"
