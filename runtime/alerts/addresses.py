"""The addresses that webhooks may connect to: public ones, and those that the config allows."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from typing import Any

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class AddressRefused(OSError):
    """The host has an address that webhooks must not call."""


class AllowedAddresses:
    """Decides which addresses a connection may be opened to.

    It is asked with the address that is about to be connected to, not with the name that was
    resolved before: a name that answers differently the second time gets nowhere.

    Args:
        networks: those that are allowed although they are not public.
    """

    def __init__(self, networks: Iterable[str] = ()) -> None:
        self._networks: list[Network] = [ipaddress.ip_network(text) for text in networks]

    def allows(self, host: str) -> bool:
        """Return whether an IP address may be connected to."""
        address = _meant(ipaddress.ip_address(host.partition("%")[0]))
        if any(address in network for network in self._networks):
            return True
        return address.is_global and not (
            address.is_multicast or address.is_reserved or address.is_link_local
        )

    def socket(self, address_info: tuple[Any, ...]) -> socket.socket:
        """Return a socket for an address, as aiohttp asks for one.

        Raises:
            AddressRefused: the address is not allowed.
        """
        family, kind, protocol, _, address = address_info
        if not self.allows(address[0]):
            raise AddressRefused(
                "the host has a private address: alerts.webhooks.allowed_networks lists exceptions"
            )
        return socket.socket(family, kind, protocol)


def _meant(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address leads to, if it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
    if inner is None and address in _NAT64:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return inner or address
