"""The fabric of projects with NATS. It uses core NATS only."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from eric_sse_django.wakes.fabric import Carrier, Receiver
from eric_sse_django.wakes.layer import make_runner
from eric_sse_django.wakes.nats import client, subscriber
from eric_sse_django.wakes.nats.protocol import KNOWN, Site, is_plain
from eric_sse_django.wakes.nats.publisher import NatsPublisher
from eric_sse_django.wakes.nats.receiver import NatsReceiver

SERVER = 'must be an address such as "nats://10.0.0.1:4222" or "tls://…"'
DEFAULT_NAMESPACE = "eric_sse"
_NAMESPACE = re.compile(r"[\w-]+(\.[\w-]+)*", re.ASCII)
# What FABRIC["OPTIONS"] may have beside "namespace": the arguments of nats.connect() by which a
# client identifies itself and encrypts.
OPTIONS = KNOWN.union(
    ("user_credentials", "nkeys_seed", "nkeys_seed_str", "user_jwt_cb", "signature_cb")
)


class NatsFabric:
    """NATS servers at `location`, one address or a list of those; connections have `options`."""

    name = "NATS"
    routes = True

    def __init__(self, location: Any, options: Mapping[str, Any]) -> None:
        """Raise ImproperlyConfigured for what cannot work."""
        problem = problem_of(location, options)
        if problem is not None:
            raise ImproperlyConfigured(problem)
        servers = [location] if isinstance(location, str) else list(location)
        others = {name: options[name] for name in options if name != "namespace"}
        self._site = Site(servers, others, options.get("namespace", DEFAULT_NAMESPACE))

    def carrier(self) -> Carrier | None:
        if self._site.is_plain():
            return NatsPublisher(self._site)
        runner = make_runner()
        return None if runner is None else client.ClientCarrier(self._site, runner)

    def receiver(self) -> Receiver | None:
        is_plain = self._site.is_plain()
        return NatsReceiver(self._site, subscriber.connect if is_plain else client.connect)

    def probe(self) -> bool:
        if self._site.is_plain():
            NatsPublisher(self._site).probe()
            return True
        runner = make_runner()
        if runner is None:
            return False
        try:
            runner.run(client.probe(self._site))
        finally:
            runner.close()
        return True


def problem_of(location: Any, options: Any) -> str | None:
    """Return what makes FABRIC's LOCATION or OPTIONS unusable for NATS; never a password."""
    servers = location if isinstance(location, (list, tuple)) and location else None
    if servers is None and not _is_server(location):
        return f"LOCATION {SERVER}, or a list of these"
    for index, server in enumerate(servers or ()):
        if not _is_server(server):
            return f"LOCATION[{index}] {SERVER}"
    if not isinstance(options, Mapping):
        return "OPTIONS must be a dict"
    names = sorted(OPTIONS | {"namespace"})
    if unknown := sorted(map(str, options.keys() - names)):
        return f"OPTIONS may not have {', '.join(unknown)}, but only {', '.join(names)}"
    if not isinstance(options.get("tls"), ssl.SSLContext | None):
        return "OPTIONS['tls'] must be an ssl.SSLContext, such as ssl.create_default_context()"
    namespace = options.get("namespace", DEFAULT_NAMESPACE)
    if not isinstance(namespace, str) or not _NAMESPACE.fullmatch(namespace):
        return "OPTIONS['namespace'] must be letters, digits, '_', '-' and dots between them"
    needs = () if is_plain(options) else ("nats", "nkeys")
    if missing := [package for package in needs if find_spec(package) is None]:
        return f"it needs {' and '.join(missing)}: pip install 'eric-sse-django[nats]'"
    return None


def _is_server(address: Any) -> bool:
    try:
        parts = urlsplit(address)
        return parts.scheme in ("nats", "tls") and bool(parts.hostname) and parts.port != 0
    except (AttributeError, TypeError, ValueError):
        return False
