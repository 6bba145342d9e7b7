"""The host that a request names and the origin of its page: no middleware checks streams."""

from __future__ import annotations

import logging
import re

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest

from eric_sse_django import conf
from eric_sse_django.consumers.request import Refused, StreamRequest

logger = logging.getLogger(__name__)
# Django's own: a project that routes or silences it for pages does so for streams.
host_logger = logging.getLogger("django.security.DisallowedHost")

Headers = list[tuple[bytes, bytes]]

# The response depends on the cookie, which names the user, and on the origin, by CORS.
VARY = (b"vary", b"Cookie, Origin")
BAD_HOST = "This server does not serve this host.\n"
FOREIGN_PAGE = "Pages of this origin may not open streams here: see ERIC_SSE['ALLOWED_ORIGINS'].\n"
# An EventSource may always send them; a client made with fetch() needs a preflight.
ALLOWED_HEADERS = b"Accept, Cache-Control, Last-Event-ID"
_SCHEMES = ("http", "https")
# Names of headers, as in RFC 9110 5.6.2, and as many as a page may ask for.
_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}"
_NAMES = re.compile(rf"{_NAME}(?:[ \t]*,[ \t]*{_NAME}){{0,49}}".encode())
PREFLIGHT: Headers = [
    (b"access-control-allow-methods", b"GET, HEAD"),
    # Seconds. Chromium caches none for longer; the request of each stream is checked anyway.
    (b"access-control-max-age", b"7200"),
]


def check_origin(request: StreamRequest) -> Headers:
    """
    Return the CORS headers of the response: none except for an origin in ALLOWED_ORIGINS.

    Raises Refused: 400 for a host that Django would not serve, 403 for a page whose origin is
    neither the host's own nor allowed, whatever cookie or ticket it sends.
    """
    as_django = _Request(request)
    try:
        host = as_django.get_host()
    except DisallowedHost as error:
        host_logger.error(str(error))
        raise Refused(400, BAD_HOST) from error
    origins = request.headers.get(b"origin")
    if origins is None:
        if b"sec-fetch-site" in request.headers:
            _check_site(request)
        return []
    origin = origins[0].decode("latin-1")
    # Compared one by one: in a str, set by mistake instead of a list, `in` would find a substring.
    is_allowed = any(origin == allowed for allowed in conf.get("ALLOWED_ORIGINS"))
    if len(origins) > 1 or not (is_allowed or _is_own(origin, host, as_django)):
        logger.warning(
            "origin refused origin=%.200r path=%.200r: %s",
            *(origin, request.path, _why(origins, host, as_django)),
        )
        raise Refused(403, FOREIGN_PAGE)
    return _cors(origins[0], request) if is_allowed else []


def _why(origins: list[bytes], host: str, request: HttpRequest) -> str:
    """Return why an origin is refused, for the log."""
    if len(origins) > 1:
        return f"the request has {len(origins)} Origin headers"
    scheme, name = request.scheme, host.lower()
    if any(_is_of(origins[0].decode("latin-1"), other, name) for other in _SCHEMES):
        return f"this site is {scheme}://{name}: check the proxy, and SECURE_PROXY_SSL_HEADER"
    return f"this site is {scheme}://{name}, and the origin is not in ERIC_SSE['ALLOWED_ORIGINS']"


def _check_site(request: StreamRequest) -> None:
    """
    Raise Refused for a request of another site's page that has no Origin header.

    A link there, or an image of a sibling domain, sends the user's cookies but no Origin. Such a
    page cannot read the response, but it would move the cursor of the user's listener.
    """
    site = request.header(b"sec-fetch-site")
    if site not in ("none", "same-origin"):
        logger.warning(
            "origin refused site=%.200r path=%.200r: it is a link or an image of another site, "
            "which has no Origin",
            *(site, request.path),
        )
        raise Refused(403, FOREIGN_PAGE)


def _cors(origin: bytes, request: StreamRequest) -> Headers:
    allow: Headers = [
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-credentials", b"true"),
    ]
    if request.method != "OPTIONS":
        return allow
    return [*allow, *PREFLIGHT, (b"access-control-allow-headers", _allowed_headers(request))]


def _allowed_headers(request: StreamRequest) -> bytes:
    """
    Return the names of the headers that a page may send: also those that it asks for.

    Tracing and login libraries add some (baggage, sentry-trace, authorization), and their values
    give no access here. "*" does not work: with cookies it is a literal name.
    """
    for value in request.headers.get(b"access-control-request-headers", ()):
        if _NAMES.fullmatch(value):
            known = ALLOWED_HEADERS.lower().split(b", ")
            asked = [one.strip() for one in value.split(b",")]
            return b", ".join(
                [ALLOWED_HEADERS, *(one for one in asked if one.lower() not in known)]
            )
    return ALLOWED_HEADERS


def _is_own(origin: str, host: str, request: HttpRequest) -> bool:
    """
    Return whether an origin is the host's own: the same name, port and scheme.

    Behind a proxy that may hide TLS (plain http, no SECURE_PROXY_SSL_HEADER) both schemes are
    accepted: the response has no CORS header, so a browser that sees two origins shows it to none.
    """
    knows_scheme = request.is_secure() or settings.SECURE_PROXY_SSL_HEADER
    schemes = (request.scheme or "",) if knows_scheme else _SCHEMES
    return any(_is_of(origin, scheme, host) for scheme in schemes)


def _is_of(origin: str, scheme: str, host: str) -> bool:
    """Return whether an origin is a host's by a scheme: one of the two that browsers have."""
    given, _, name = origin.partition("://")
    default = ":443" if scheme == "https" else ":80"
    is_same = name.removesuffix(default) == host.lower().removesuffix(default)
    return scheme in _SCHEMES and given == scheme and is_same


class _Request(HttpRequest):
    """What Django reads of a request for the host and the scheme; building it raises nothing."""

    def __init__(self, request: StreamRequest) -> None:
        # Like Django's own subclasses without super().__init__(), which takes twice as long.
        name, port = request.scope.get("server") or ("unknown", 0)
        self.META = {"SERVER_NAME": name, "SERVER_PORT": str(port)}
        self._asgi_scheme: str = request.scope.get("scheme") or "http"
        names = ["HOST", "X_FORWARDED_HOST", "X_FORWARDED_PORT"]
        if settings.SECURE_PROXY_SSL_HEADER:
            names.append(settings.SECURE_PROXY_SSL_HEADER[0].removeprefix("HTTP_"))
        for name in names:
            # As in Django: a header whose own name has underscores was not set by a proxy.
            values = request.headers.get(name.replace("_", "-").lower().encode())
            if values is not None:
                self.META[f"HTTP_{name}"] = b",".join(values).decode("latin-1")

    def _get_scheme(self) -> str:
        return self._asgi_scheme
