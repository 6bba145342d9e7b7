"""
A site for tabs: a page that shares its stream with its like, and how many streams are open.

`/tab?at=7` is rendered with that cursor, `/tab` with the log's head; `&ticket_s=` is the age
of its ticket, `&types=` what it listens for, `&listener=` whose stream it has. `/streams`
counts, `/url` is a fresh address, `/elsewhere` another page of the site.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

from asgiref.sync import sync_to_async

from tests.live.admin_asgi import application as site

from django.template import Context, Template  # isort: skip - Django is set up by the line above

from eric_sse_django import shortcuts, stream_urls  # isort: skip
from eric_sse_django.authorization import make_ticket  # isort: skip

PAGE = Template("""
{% load static %}<!doctype html><title>tab</title>
{{ url|json_script:"url" }}{{ types|json_script:"types" }}
<script type="module">
  import { SharedStream } from "{% static 'eric_sse_django/shared-stream.js' %}";
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const refresh = async () => (await fetch("/url")).text();
  const types = read("types");
  const stream = (window.stream = new SharedStream(read("url"), { types, refresh }));
  window.got = [];
  window.states = [];
  window.addEventListener("pageshow", ({ persisted }) => (window.isRestored = persisted));
  for (const type of types) {
    stream.addEventListener(type, (event) => got.push(JSON.parse(event.data)));
  }
  stream.addEventListener("state", (event) => states.push(event.detail));
</script>
""")
counts = {"open": 0, "opened": 0}


async def application(scope: Any, receive: Any, send: Any) -> None:
    path = scope["path"]
    if path.startswith("/events/"):
        await _counted(scope, receive, send)
    elif path == "/tab":
        query = {k: v[-1] for k, v in parse_qs(scope["query_string"].decode()).items()}
        await _answer(send, await sync_to_async(_tab)(query), b"text/html")
    elif path == "/elsewhere":
        await _answer(send, "<!doctype html><title>elsewhere</title>", b"text/html")
    elif path == "/url":
        await _answer(send, _url(None, 3_600.0), b"text/plain")
    elif path == "/streams":
        await _answer(send, json.dumps(counts), b"application/json")
    else:
        await site(scope, receive, send)


async def _counted(scope: Any, receive: Any, send: Any) -> None:
    counts["open"] += 1
    counts["opened"] += 1
    try:
        await site(scope, receive, send)
    finally:
        counts["open"] -= 1


def _tab(query: dict[str, str]) -> str:
    listener = query.get("listener")
    cursor = None if listener else query.get("at", shortcuts.cursor())
    url = _url(cursor, float(query.get("ticket_s", 3_600)), listener)
    types = query.get("types", "n").split(",")
    return str(PAGE.render(Context({"url": url, "types": types})))


def _url(cursor: Any, age_s: float, listener: str | None = None) -> str:
    ticket = make_ticket("orders", listener, age_s)
    return stream_urls.with_query(stream_urls.path_of("orders", listener), [ticket], cursor)


async def _answer(send: Any, text: str, media: bytes) -> None:
    headers = [(b"content-type", media + b"; charset=utf-8"), (b"cache-control", b"no-cache")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
