"""
A site whose pages use the libraries of tests/live/clients, and change with a stream.

`/page?library=turbo&channel=c` shows the orders and opens a stream of the channel;
`&source=listener` is a listener's, `&shared=1` is shared, `&late=1` loads the library `async`.
`/npm/…` are the libraries' files.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from asgiref.sync import sync_to_async

from tests.live.tabs_asgi import _answer
from tests.live.tabs_asgi import application as site

from django.template import Context, Template  # isort: skip - Django is set up by the lines above

from eric_sse_django import shortcuts  # isort: skip
from tests.shop.models import Order  # isort: skip

MODULES = Path(os.environ["ERIC_SSE_TEST_NODE_MODULES"])
SCRIPTS = {
    "htmx2": ["htmx2/dist/htmx.js", "htmx-ext-sse/sse.js"],
    "htmx4": ["htmx.org/dist/htmx.js", "htmx.org/dist/ext/hx-sse.js"],
    "turbo": ["@hotwired/turbo/dist/turbo.es2017-umd.js"],
    "unpoly": ["unpoly/unpoly.js"],
    "alpine": ["@imacrayon/alpine-ajax/dist/cdn.js", "alpinejs/dist/cdn.js"],
    "datastar": [".cache/datastar/datastar.js"],
    "plain": [],
}
# htmx 4 with "defer" may start before its extension is there, and then opens no stream.
ATTRIBUTES = {"htmx4": "", "datastar": 'type="module"'}
PAGE = Template("""
{% load static eric_sse %}<!doctype html><html><head><title>page</title>
<link rel="icon" href="data:,">
{% for script in scripts %}
<script src="/npm/{{ script }}" {{ attributes|safe }}></script>
{% endfor %}
<script type="module" src="{% static 'eric_sse_django/stream-element.js' %}"></script>
<script>addEventListener("pageshow", ({ persisted }) => (window.isRestored = persisted));</script>
</head><body>
{% eric_stream source library=library shared=shared unbound=True %}
<table><tbody id="rows">{% for order in orders %}{% include "shop/row.html" %}{% endfor %}</tbody>
</table>
</body></html>
""")


async def application(scope: Any, receive: Any, send: Any) -> None:
    path = scope["path"]
    if path == "/page":
        query = {k: v[-1] for k, v in parse_qs(scope["query_string"].decode()).items()}
        await _answer(send, await sync_to_async(_page)(query), b"text/html")
    elif path.startswith("/npm/"):
        await _answer(send, (MODULES / path[5:]).read_text(), b"text/javascript")
    else:
        await site(scope, receive, send)


def _page(query: dict[str, str]) -> str:
    library = query["library"]
    source: Any = query["channel"]
    if query.get("source") == "listener":
        source = shortcuts.listen(source, listener_id="page")
    context = {
        "source": source,
        "library": library,
        "shared": "shared" in query,
        "scripts": SCRIPTS[library],
        "attributes": "async" if "late" in query else ATTRIBUTES.get(library, "defer"),
        "orders": Order.objects.order_by("pk"),
    }
    return str(PAGE.render(Context(context)))
