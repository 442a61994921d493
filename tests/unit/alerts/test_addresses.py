"""Which addresses webhooks may connect to, asked at the connection itself."""

from __future__ import annotations

import socket

import pytest

from runtime.alerts.addresses import AddressRefused, AllowedAddresses

REFUSED = (
    *("127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1"),  # noqa: S104
    *("169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1"),
    *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:7f00:1::"),
)
ALLOWED = ("93.184.216.34", "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808")


@pytest.mark.parametrize("address", REFUSED)
def test_what_is_not_public_is_refused(address: str) -> None:
    assert not AllowedAddresses().allows(address)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with pytest.raises(AddressRefused):
        AllowedAddresses().socket((family, socket.SOCK_STREAM, 6, "", (address, 443)))


@pytest.mark.parametrize("address", ALLOWED)
def test_what_is_public_is_allowed(address: str) -> None:
    assert AllowedAddresses().allows(address)


def test_networks_of_the_config_are_exceptions_and_no_others() -> None:
    allowed = AllowedAddresses(["10.1.0.0/16", "fd00::/8"])
    assert allowed.allows("10.1.2.3")
    assert allowed.allows("::ffff:10.1.2.3")
    assert allowed.allows("fd00::1")
    assert not allowed.allows("10.2.0.1")
    assert not allowed.allows("127.0.0.1")
