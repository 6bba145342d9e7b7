"""Answers of the site that are no stream, and what they mean."""

from __future__ import annotations

from eric_sse_django import conf
from eric_sse_django.doctor.finding import Finding, error
from eric_sse_django.doctor.link import Link

REDIRECTS = {301, 302, 303, 307, 308}
# What a proxy answers for a server that it cannot reach, or that is too slow.
GATEWAY = {502, 503, 504}


def refusal(link: Link, target: str) -> Finding | None:
    """Return why an answer is no stream, None for one that is."""
    status, kind = link.status, link.header("content-type")
    if status == 200 and kind.startswith("text/event-stream"):
        return None
    if status == 200:
        return error(
            "stream.not_a_stream",
            f"The streams' path is answered with {kind or 'no type'}, which is no stream.",
            f"Route {conf.get('URL_PREFIX')!r} to the ASGI servers, in the proxy and in asgi.py.",
        )
    path = target.partition("?")[0]
    if status in REDIRECTS:
        return error(
            "stream.redirected",
            f"{path} is redirected to {link.header('location').partition('?')[0]}.",
            "Give the address to which it leads, with https and the right host; if it is that "
            "one, set SECURE_PROXY_SSL_HEADER.",
        )
    if status in GATEWAY:
        return error(
            "stream.gateway",
            f"A proxy answers {status}: it does not reach the server.",
            "Start the servers, and compare their address with that in the proxy's settings.",
        )
    text, step = _MEANINGS.get(status, (f"{path} is answered with {status}.", LOOK))
    return error(f"stream.status_{status}", text, step)


LOOK = "Read the log of the proxy and of the servers."
_MEANINGS = {
    400: (
        "The server refuses the name of the host (400).",
        "Add it to ALLOWED_HOSTS, and let the proxy pass it on (nginx: proxy_set_header Host "
        "$host).",
    ),
    401: (
        "The proxy asks for a password (401).",
        "Exclude the streams' path, or give an address that needs none.",
    ),
    403: (
        "The server refuses a valid ticket (403).",
        "Check that the servers have the SECRET_KEY and the database of this command; then look "
        "for `stream refused` in their log.",
    ),
    404: (
        "The streams' path is not found (404).",
        "Wrap the application of asgi.py in with_streams(), run an ASGI server and not WSGI, and "
        "compare URL_PREFIX with the proxy's settings.",
    ),
    413: ("The proxy refuses the size of the request (413).", LOOK),
    431: ("The proxy or server refuses the size of the headers (431).", LOOK),
}
