"""Connects streaq as the config's ``redis`` section says: its client is coredis, not redis-py."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

from runtime.config.sections import RedisSection, SentinelSection

_NEVER_CHECKED = ("none", "CERT_NONE")


def streaq_options(
    section: RedisSection, url: str, nodes: Sequence[tuple[str, int]] = ()
) -> dict[str, Any]:
    """Return the arguments by which streaq reaches the configured server, cluster or primary.

    Args:
        url: of the server; where the section has the embedded one, it is that of its socket.
        nodes: other nodes of the cluster by host and port: the one of ``url`` may be away.
    """
    options: dict[str, Any] = {"connect_timeout": section.timeout_ms / 1000}
    options |= _credentials(section)
    if section.sentinel is not None:
        return _behind_sentinels(section.sentinel, options)
    parts = urlsplit(url)
    if parts.scheme == "rediss":
        options["ssl_context"] = _tls_of(parts.query)
        url = urlunsplit(parts._replace(query=_without_tls(parts.query)))
    if not section.cluster:
        return {"redis_url": url, "redis_kwargs": options}
    options |= {"username": parts.username} if parts.username else {}
    options |= {"password": parts.password} if parts.password else {}
    return {
        "cluster_nodes": [*nodes, (parts.hostname or "127.0.0.1", parts.port or 6379)],
        "redis_kwargs": options,
    }


def _behind_sentinels(section: SentinelSection, options: dict[str, Any]) -> dict[str, Any]:
    of_sentinels: dict[str, Any] = {
        "connect_timeout": options["connect_timeout"],
        "stream_timeout": options["connect_timeout"],
        "decode_responses": True,
        **_credentials(section),
    }
    if section.tls:
        context = ssl.create_default_context(cafile=section.ca_file)
        options = {**options, "ssl_context": context}
        of_sentinels["ssl_context"] = context
    nodes = [urlsplit(f"redis://{node}") for node in section.nodes]
    return {
        "sentinel_nodes": [(node.hostname, node.port) for node in nodes],
        "sentinel_master": section.master,
        "sentinel_kwargs": of_sentinels,
        "redis_kwargs": options,
    }


def _credentials(section: RedisSection | SentinelSection) -> dict[str, str]:
    options = {"username": section.username} if section.username else {}
    if section.password:
        options["password"] = section.password.get_secret_value()
    return options


def _tls_of(query: str) -> ssl.SSLContext:
    """Return the TLS settings of a URL, with redis-py's names and defaults."""
    found = {name: values[0] for name, values in parse_qs(query).items()}
    context = ssl.create_default_context(cafile=found.get("ssl_ca_certs"))
    if "ssl_certfile" in found:
        context.load_cert_chain(found["ssl_certfile"], found.get("ssl_keyfile"))
    never_checked = found.get("ssl_cert_reqs", "required") in _NEVER_CHECKED
    if never_checked or found.get("ssl_check_hostname", "true").lower() == "false":
        context.check_hostname = False
    if never_checked:
        context.verify_mode = ssl.CERT_NONE
    return context


def _without_tls(query: str) -> str:
    return "&".join(part for part in query.split("&") if not part.startswith("ssl_"))
