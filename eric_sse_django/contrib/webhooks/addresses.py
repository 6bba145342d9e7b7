"""Where requests may go: URLs and addresses that reach nothing internal (SSRF)."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from eric_sse_django.contrib.webhooks import conf

IP: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"

PORTS = {"http": 80, "https": 443}
# Addresses of IPv6 that a gateway translates to those of IPv4 in their last 32 bits (RFC 6052).
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# What is not public and older versions of Python take for it, of each version of IP.
NOT_PUBLIC = tuple(
    ipaddress.ip_network(each)
    for each in ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2001:db8::/32", "3fff::/20")
)
# All public addresses of IPv6: others are local (fec0::/10), or mean something else.
UNICAST = ipaddress.IPv6Network("2000::/3")
MAX_URL_CHARACTERS = 2_048


class Refused(Exception):
    """A URL or address that is not posted to. Its text names it and the next step."""


class Target(NamedTuple):
    """The parts of a URL: `path` is with its query."""

    scheme: str
    host: str
    port: int
    path: str


class Place(NamedTuple):
    """An address to connect to, as the socket functions take it."""

    family: int
    address: Any


def target_of(url: str) -> Target:
    """Return the parts of a URL; raise Refused for one that is never posted to. No look-up."""
    if not url.isascii() or not url.isprintable() or " " in url or len(url) > MAX_URL_CHARACTERS:
        raise Refused(f"The URL {url[:200]!r} has characters that a URL cannot have: encode them.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Refused(f"{url!r} is not a URL: {error}.") from None
    schemes = ("http", "https") if conf.get("ALLOW_HTTP") else ("https",)
    if parts.scheme not in schemes or not parts.hostname:
        raise Refused(
            f"{url!r} must begin with {' or '.join(each + '://' for each in schemes)} and have a "
            f"host: to allow http://, set {conf.NAME}['ALLOW_HTTP']."
        )
    if parts.username is not None or parts.password is not None:
        raise Refused("The URL has a user or password: the signature is what proves the sender.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, parts.hostname, port or PORTS[parts.scheme], path)


def places_of(target: Target) -> list[Place]:
    """
    Return the addresses of a host that may be connected to; raise Refused if there are none.

    Connect to one of these, and to no result of another look-up: the second could differ.
    Raises OSError if the host has no address.
    """
    found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    places = [Place(family, address) for family, _, _, _, address in found]
    allowed = [place for place in places if is_allowed(ipaddress.ip_address(place.address[0]))]
    if not allowed:
        first = places[0].address[0]
        raise Refused(
            f"{target.host} has the address {first}, which is not public: to allow it, add its "
            f"network to {conf.NAME}['ALLOWED_NETWORKS']."
        )
    return allowed


def is_allowed(address: IP) -> bool:
    """Return whether an address is public, or in one of ALLOWED_NETWORKS."""
    meant = _meant(address)
    networks = [ipaddress.ip_network(each) for each in conf.get("ALLOWED_NETWORKS")]
    if any(meant in network for network in networks if network.version == meant.version):
        return True
    if meant.version == 6 and meant not in UNICAST:
        return False
    if any(meant in network for network in NOT_PUBLIC if network.version == meant.version):
        return False
    return meant.is_global and not meant.is_multicast and not meant.is_reserved


def _meant(address: IP) -> IP:
    """Return the address of IPv4 that is reached by one of IPv6, if that is so."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
