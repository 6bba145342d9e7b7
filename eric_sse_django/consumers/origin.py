"""Which host a request names, and whose page sent it: else Django's middleware would look."""

from __future__ import annotations

import logging
import re
from typing import Any

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest

from eric_sse_django import conf
from eric_sse_django.consumers.refused import Refused

logger = logging.getLogger(__name__)
# Django's own: who routes or silences it for pages, does so for streams.
host_logger = logging.getLogger("django.security.DisallowedHost")

Headers = list[tuple[bytes, bytes]]

# What depends on whom: the cookie says who asks, the origin whether its page may read.
VARY = (b"vary", b"Cookie, Origin")
BAD_HOST = "This host is not served here.\n"
FOREIGN = "Pages of this origin may not open streams here: see ERIC_SSE['ALLOWED_ORIGINS'].\n"
# An EventSource sends them unasked; a client made with fetch() has to ask.
ALLOWED_HEADERS = b"Accept, Cache-Control, Last-Event-ID"
# Names of headers, as RFC 9110 5.6.2 has them, and as many as a page may ask for.
_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}"
_NAMES = re.compile(rf"{_NAME}(?:[ \t]*,[ \t]*{_NAME}){{0,49}}".encode())
PREFLIGHT: Headers = [
    (b"access-control-allow-methods", b"GET, HEAD"),
    # Seconds. Chromium remembers none for longer; each stream's own request is checked anyway.
    (b"access-control-max-age", b"7200"),
]


def check_origin(scope: Any) -> Headers:
    """
    Return the CORS headers of the answer: none but for an origin in ALLOWED_ORIGINS.

    Raises Refused: 400 for a host that Django would not serve, 403 for a page of an origin
    that is neither the host's own nor allowed, whatever cookie or ticket it brings.
    """
    request = _Request(scope)
    try:
        host = request.get_host()
    except DisallowedHost as error:
        host_logger.error(str(error))
        raise Refused(400, BAD_HOST) from error
    origins = [value for name, value in scope["headers"] if name.lower() == b"origin"]
    if not origins:
        _check_site(request)
        return []
    origin = origins[0].decode("latin-1")
    # Compared one by one: in a str, given for the list by mistake, `in` would find a part.
    is_allowed = any(origin == allowed for allowed in conf.get("ALLOWED_ORIGINS"))
    if len(origins) > 1 or not (is_allowed or _is_own(origin, host, request)):
        logger.warning("origin refused origin=%.200r path=%.200r", origin, scope["path"])
        raise Refused(403, FOREIGN)
    return _cors(origins[0], scope) if is_allowed else []


def _check_site(request: HttpRequest) -> None:
    """
    Raise Refused for what another site's page loads without saying its origin.

    A link there, or an image of a sibling domain, brings the user's cookies but no Origin; it
    can read nothing, but it would move the cursor of the user's listener.
    """
    site = request.META.get("HTTP_SEC_FETCH_SITE", "none")
    if site not in ("none", "same-origin"):
        logger.warning("origin refused site=%.200r", site)
        raise Refused(403, FOREIGN)


def _cors(origin: bytes, scope: Any) -> Headers:
    allow: Headers = [
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-credentials", b"true"),
    ]
    if scope["method"] != "OPTIONS":
        return allow
    return [*allow, *PREFLIGHT, (b"access-control-allow-headers", _allowed_headers(scope))]


def _allowed_headers(scope: Any) -> bytes:
    """
    Return the names of the headers that a page may send: also those that it asks for.

    Tracing and login add some (baggage, sentry-trace, authorization), and what they say
    opens nothing here. "*" would not do: with cookies it is a name like any other.
    """
    for name, value in scope["headers"]:
        if name.lower() == b"access-control-request-headers" and _NAMES.fullmatch(value):
            known = ALLOWED_HEADERS.lower().split(b", ")
            asked = [one.strip() for one in value.split(b",")]
            return b", ".join(
                [ALLOWED_HEADERS, *(one for one in asked if one.lower() not in known)]
            )
    return ALLOWED_HEADERS


def _is_own(origin: str, host: str, request: HttpRequest) -> bool:
    """
    Whether an origin is the host's own: of the same name and port, and of the same scheme.

    Where a proxy may hide TLS from us (plain http, no SECURE_PROXY_SSL_HEADER) either scheme
    will do: the answer has no CORS header, so a browser that sees two origins shows it to none.
    """
    scheme, _, name = origin.partition("://")
    if scheme not in ("http", "https"):
        return False
    knows_scheme = request.is_secure() or settings.SECURE_PROXY_SSL_HEADER
    if knows_scheme and scheme != request.scheme:
        return False
    default = ":443" if scheme == "https" else ":80"
    return name.removesuffix(default) == host.lower().removesuffix(default)


def _asked_for() -> set[str]:
    """Return the names of the headers that decide on the host and the scheme."""
    names = {"HOST", "X-FORWARDED-HOST", "X-FORWARDED-PORT", "SEC-FETCH-SITE"}
    if settings.SECURE_PROXY_SSL_HEADER:
        names.add(settings.SECURE_PROXY_SSL_HEADER[0].removeprefix("HTTP_").replace("_", "-"))
    return names


class _Request(HttpRequest):
    """As much of an ASGI scope as Django asks for the host and the scheme; it cannot raise."""

    def __init__(self, scope: Any) -> None:
        # As Django's own subclass not super().__init__(): making the forms takes 2/3 of the time.
        name, port = scope.get("server") or ("unknown", 0)
        self.META = {"SERVER_NAME": name, "SERVER_PORT": str(port)}
        self._asgi_scheme: str = scope.get("scheme") or "http"
        asked = _asked_for()
        found: dict[str, list[str]] = {}
        for key, value in scope["headers"]:
            # As Django: X_Forwarded_Host is not what a proxy has set.
            if b"_" not in key and (name := key.decode("latin-1").upper()) in asked:
                found.setdefault(name, []).append(value.decode("latin-1"))
        for name, values in found.items():
            self.META[f"HTTP_{name.replace('-', '_')}"] = ",".join(values)

    def _get_scheme(self) -> str:
        return self._asgi_scheme
