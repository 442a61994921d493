"""Keeps tests off the real network: only loopback and Unix sockets may be reached.

A refused connection raises, and is also kept in `REFUSED`, because a client library may turn
the exception into one of its own and go on.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

REFUSED: list[str] = []

_real_connect = socket.socket.connect
_real_connect_ex = socket.socket.connect_ex
_real_sendto = socket.socket.sendto
_real_getaddrinfo = socket.getaddrinfo


class RealNetworkForbidden(RuntimeError):
    """A test tried to reach a host other than this one."""


def install() -> None:
    """Guard every socket of this process, for good."""
    for name, guarded in (
        ("connect", _connect),
        ("connect_ex", _connect_ex),
        ("sendto", _sendto),
    ):
        setattr(socket.socket, name, guarded)
    socket.getaddrinfo = _getaddrinfo


def _check(host: object) -> None:
    if host in {None, "", b"", "localhost", b"localhost"}:
        return
    try:
        address = ipaddress.ip_address(str(host).partition("%")[0])
    except ValueError:
        local = False
    else:
        local = address.is_loopback or address.is_unspecified
    if not local:
        REFUSED.append(str(host))
        raise RealNetworkForbidden(f"tests may not reach {host!r}")


def _check_address(address: object) -> None:
    # Unix sockets have paths as addresses, others have tuples that begin with the host.
    if isinstance(address, tuple):
        _check(address[0])


def _connect(self: socket.socket, address: Any) -> None:
    _check_address(address)
    _real_connect(self, address)


def _connect_ex(self: socket.socket, address: Any) -> int:
    _check_address(address)
    return _real_connect_ex(self, address)


def _sendto(self: socket.socket, *args: Any) -> int:
    _check_address(args[-1])
    return _real_sendto(self, *args)


def _getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
    _check(host)
    return _real_getaddrinfo(host, *args, **kwargs)
