"""Where a client is: the other end of its connection; behind a proxy of ours, what the proxy says.

Anybody can send ``X-Forwarded-For``. Only its last entry is our proxy's own, and only if there is a proxy: without the
setting ``proxied`` the header is not looked at.
"""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

V6_NETWORK_BITS = 64
"""Whoever has one IPv6 address has all of these: for a limit they are one."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def address_of(scope: Any, *, proxied: bool) -> str:
    """The client's address as canonical text, "" if it has none."""
    client = scope.get("client")
    peer = canonical(client[0]) if client else ""
    if not proxied:
        return peer
    last = _header(scope, b"x-forwarded-for").rpartition(",")[2].strip()
    return canonical(last) or peer


def came_by_tls(scope: Any, *, proxied: bool) -> bool:
    """Whether the client speaks TLS; behind a proxy that does not say otherwise it does."""
    if scope["scheme"] in ("https", "wss"):
        return True
    return proxied and _header(scope, b"x-forwarded-proto").rpartition(",")[2].strip().lower() not in ("http", "ws")


def _header(scope: Any, wanted: bytes) -> str:
    """A header's value; of a repeated one all values, as a proxy would have joined them."""
    return ",".join(value.decode("latin-1") for name, value in scope["headers"] if name == wanted)


@lru_cache(maxsize=8192)
def canonical(text: str) -> str:
    """An address as its one text, an IPv4 address in IPv6 clothes as what it is; "" if it is no address."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv6Address):
        found = found.ipv4_mapped or ipaddress.IPv6Address(int(found))  # without a zone
    return str(found)


@lru_cache(maxsize=8192)
def neighbourhood(address: str) -> str:
    """What a limit counts as one client: an IPv4 address, or an IPv6 network."""
    if ":" not in address:
        return address
    return str(ipaddress.ip_network((address, V6_NETWORK_BITS), strict=False))


def is_within(address: str, networks: Iterable[Network]) -> bool:
    """Whether an address is in one of the networks."""
    if not address:
        return False
    found = ipaddress.ip_address(address)
    return any(found in network for network in networks)
