"""Hosts that nothing may be sent to, or nothing secret, and secrets inside of addresses."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import suppress
from urllib.parse import parse_qsl

_METADATA_NAMES = frozenset(("metadata.google.internal", "metadata.goog"))
"""Hosts that hand out a cloud's credentials; most clouds use the link-local 169.254.169.254."""

_PRIVATE_ENDINGS = (".internal", ".lan", ".local", ".localhost", ".svc", ".test", ".home.arpa")
"""Of names that no public name server answers for (RFC 6761, 6762, 8375), and of clusters."""

_SECRET_NAMES = frozenset(
    ("access_token", "api-key", "api_key", "apikey", "key", "password", "secret", "sig", "token")
)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def check_host(host: str) -> None:
    """Refuse hosts that can't be a provider: those from which clouds hand out credentials.

    Raises:
        ValueError: the host is link-local, or is named as a cloud's metadata service.
    """
    address = _ip_address(host)
    if (address is not None and address.is_link_local) or host.lower() in _METADATA_NAMES:
        raise ValueError(
            "is a link-local address, where clouds hand out credentials; no provider is there"
        )


def is_public(host: str) -> bool:
    """Return whether a host may lie beyond this machine and its private networks.

    A name without a dot is one of the local network: a container's or a service's.
    """
    address = _ip_address(host)
    if address is not None:
        return not (address.is_private or address.is_loopback)
    name = host.lower().rstrip(".")
    return "." in name and not name.endswith(_PRIVATE_ENDINGS)


def check_query(query: str) -> None:
    """Refuse a query that holds a secret.

    Raises:
        ValueError: without the secret.
    """
    for name, _ in parse_qsl(query, keep_blank_values=True):
        if name.lower() in _SECRET_NAMES:
            raise ValueError(f"must not hold {name}= ; there is a key for the secret")


def _ip_address(host: str) -> Address | None:
    """Return the IP address that a host is, in any form that connecting would take it in."""
    with suppress(ValueError):
        address = ipaddress.ip_address(host.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        return mapped if isinstance(mapped, ipaddress.IPv4Address) else address
    with suppress(OSError):
        # 2852039166 and 0xa9fea9fe are 169.254.169.254, too.
        return ipaddress.IPv4Address(socket.inet_aton(host))
    return None
