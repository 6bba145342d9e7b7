"""The element by which the pages of each library open a stream."""

from __future__ import annotations

import json
from collections.abc import Callable

from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString

# htmx 4 does not repeat a first request that failed: it is triggered again, and a stream that is
# open ignores that.
HTMX4_TRIGGER = "load, every 15s"


def element(library: str, url: str, channel: str, shared: bool = False) -> SafeString:
    """
    Return the element that opens a stream of a channel, as the library wants it.

    With `shared`, it is an <eric-stream> also for htmx and Turbo: all tabs share it, and it
    continues after its last message when the server is available again.
    """
    if library not in ELEMENTS:
        raise ValueError(f"{library!r} is no library: use one of {', '.join(ELEMENTS)}.")
    if shared and library != "datastar":
        return _own(library)(url, channel)
    return ELEMENTS[library](url, channel)


def _htmx2(url: str, channel: str) -> SafeString:
    html = (
        '<div hx-ext="sse" sse-connect="{}" sse-swap="message" hx-swap="none" hidden>'
        '<div data-eric-refresh="{}"></div></div>'
    )
    return format_html(html, url, channel)


def _htmx4(url: str, channel: str) -> SafeString:
    html = (
        '<div hx-sse:connect="{}" hx-trigger="{}" hx-swap="none" hidden>'
        '<div data-eric-refresh="{}"></div></div>'
    )
    return format_html(html, url, HTMX4_TRIGGER, channel)


def _turbo(url: str, channel: str) -> SafeString:
    return format_html('<turbo-stream-source src="{}"></turbo-stream-source>', url)


def _datastar(url: str, channel: str) -> SafeString:
    # By default Datastar ends with the stream, and gives up after ten errors.
    options = "{retry: 'always', retryMaxCount: Infinity}"
    script = f"@get({json.dumps(url)}, {options})"
    return format_html('<div data-init="{}" hidden></div>', script)


def _own(library: str) -> Callable[[str, str], SafeString]:
    def element(url: str, channel: str) -> SafeString:
        client = static("eric_sse_django/eric-sse.js")
        html = (
            '<eric-stream src="{}" library="{}" client="{}" hidden>'
            '<div data-eric-refresh="{}"></div></eric-stream>'
        )
        return format_html(html, url, library, client, channel)

    return element


ELEMENTS: dict[str, Callable[[str, str], SafeString]] = {
    "htmx2": _htmx2,
    "htmx4": _htmx4,
    "turbo": _turbo,
    "datastar": _datastar,
    **{name: _own(name) for name in ("unpoly", "alpine", "plain")},
}
