"""
A site for tabs: a page that shares its stream with its like, and how many streams are open.

`/tab?at=7` is rendered with that cursor, `/tab` with the log's head; `&ticket_s=` is the age
of its ticket, `&types=` what it listens for, `&listener=` whose stream it has, `&options=` JSON
for connect(). `/streams`
counts, `/url` is a fresh address, `/elsewhere` another page of the site.
`/blank`, with the same query, has the client as `client`, and opens no stream.
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
{{ url|json_script:"url" }}{{ types|json_script:"types" }}{{ options|json_script:"options" }}
<script type="module">
  import { connect } from "{% static 'eric_sse_django/eric-sse.js' %}";
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  window.got = [];
  window.states = [];
  window.resets = [];
  window.addEventListener("pageshow", ({ persisted }) => (window.isRestored = persisted));
  const types = read("types");
  const stream = (window.stream = connect(read("url"), {
    types,
    refresh: "/url",
    onstate: (state) => states.push(state),
    onreset: (reset) => resets.push(reset),
    ...read("options"),
  }));
  for (const type of types) stream.on(type, (data) => got.push(data));
</script>
""")
BLANK = Template("""
{% load static %}<!doctype html><title>blank</title>
{{ url|json_script:"url" }}<ul id="list"></ul>
<script type="module">
  import * as client from "{% static 'eric_sse_django/eric-sse.js' %}";
  window.url = JSON.parse(document.getElementById("url").textContent);
  window.got = [];
  window.states = [];
  window.client = client;
</script>
""")
ELSEWHERE = "<!doctype html><title>elsewhere</title><link rel=icon href=data:,>"
PAGES = {"/tab": PAGE, "/blank": BLANK}
counts = {"open": 0, "opened": 0}


async def application(scope: Any, receive: Any, send: Any) -> None:
    path = scope["path"]
    if path.startswith("/events/"):
        await _counted(scope, receive, send)
    elif path in PAGES:
        query = {k: v[-1] for k, v in parse_qs(scope["query_string"].decode()).items()}
        await _answer(send, await sync_to_async(_page)(PAGES[path], query), b"text/html")
    elif path == "/elsewhere":
        await _answer(send, ELSEWHERE, b"text/html")
    elif path == "/url":
        await _answer(send, _url(None, 3_600.0), b"text/html")  # as HttpResponse(url) has it
    elif path == "/url.json":
        await _answer(send, json.dumps({"url": _url(None, 3_600.0)}), b"application/json")
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


def _page(template: Template, query: dict[str, str]) -> str:
    listener = query.get("listener")
    cursor = None if listener else query.get("at", shortcuts.cursor())
    url = _url(cursor, float(query.get("ticket_s", 3_600)), listener)
    types = query.get("types", "n").split(",")
    options = json.loads(query.get("options", "{}"))
    return str(template.render(Context({"url": url, "types": types, "options": options})))


def _url(cursor: Any, age_s: float, listener: str | None = None) -> str:
    ticket = make_ticket("orders", listener, age_s)
    return stream_urls.with_query(stream_urls.path_of("orders", listener), [ticket], cursor)


async def _answer(send: Any, text: str, media: bytes) -> None:
    headers = [(b"content-type", media + b"; charset=utf-8"), (b"cache-control", b"no-cache")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
