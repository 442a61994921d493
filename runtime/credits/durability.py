"""Levels of durability that a write reaches before the ledger calls it done."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any

from redis.exceptions import ResponseError

from runtime.credits.results import LedgerError
from runtime.redis.primaries import Primary

_log = logging.getLogger("creditgate.ledger")


class Durability(StrEnum):
    """The failures that an answered write survives, from the fewest to the most."""

    RELAXED = "relaxed"
    FSYNC = "fsync"
    REPLICATED = "replicated"


_POLICY = "maxmemory-policy"
_SAFE_POLICY = "noeviction"


async def check(
    primary: Primary,
    durability: Durability,
    wait_replicas: int,
    assumed: Collection[str] = (),
) -> None:
    """Check that a server is set up for the configured durability, and evicts nothing.

    A setting that the server does not tell is taken to be right, and the log says so.

    Args:
        assumed: the names of settings that the operator vouches for.

    Raises:
        LedgerError: the server is set up for less.
    """
    await _check_eviction(primary, assumed)
    if durability is Durability.REPLICATED:
        await _check_replicas(primary, wait_replicas, assumed)
    else:
        await _check_append_only(primary, durability, assumed)


def tell_hidden(
    primary: Primary, what: str, needed: str, name: str, assumed: Collection[str]
) -> None:
    """Log that a server does not tell something: a warning, unless the operator vouches for it.

    Args:
        what: completes "the server does not tell".
        name: the setting's name under ``redis.assume``.
    """
    if name in assumed:
        _log.info("%s does not tell %s; redis.assume has %s: %s", primary, what, name, needed)
    else:
        _log.warning(
            "%s does not tell %s: %s. If you know that it is so, name %s under redis.assume",
            primary,
            what,
            needed,
            name,
        )


def eviction_fault(primary: Primary, told: Mapping[str, Any]) -> str:
    """Return what is wrong with a server's policy of eviction, or "".

    An outcome that is evicted lets its id be charged again, and an account that is evicted is lost.
    A policy counts even without ``maxmemory``, which can be set at any time.

    Args:
        told: the server's ``INFO memory``.
    """
    policy = str(told.get("maxmemory_policy", _SAFE_POLICY))
    if policy == _SAFE_POLICY:
        return ""
    return (
        f"{primary} may evict the ledger's data: its {_POLICY} is {policy}; set it to "
        f"{_SAFE_POLICY}"
    )


async def _check_eviction(primary: Primary, assumed: Collection[str]) -> None:
    told = await _told(primary, "memory")
    if "maxmemory_policy" not in told:
        policy = await primary.setting(_POLICY)
        if policy is None:
            needed = f"{_SAFE_POLICY} is needed"
            tell_hidden(primary, f"its {_POLICY}", needed, "maxmemory_policy", assumed)
            return
        told = {"maxmemory_policy": policy}
    if fault := eviction_fault(primary, told):
        raise LedgerError(fault)


async def _check_append_only(
    primary: Primary, durability: Durability, assumed: Collection[str]
) -> None:
    promised = durability is Durability.FSYNC
    told = await _told(primary, "persistence")
    if "aof_enabled" not in told and not promised:
        what = "whether it has an append-only file"
        tell_hidden(primary, what, "without one a crash loses charges", "append_only", assumed)
    if str(told.get("aof_enabled", "1")) == "0":
        text = f"{primary} has no append-only file"
        if promised:
            raise LedgerError(f"redis.durability is fsync, but {text}: set appendonly yes")
        _log.warning("%s: a crash loses what it has not saved otherwise", text)
        return
    if not promised:
        return
    sync = await primary.setting("appendfsync")
    if sync is None or "aof_enabled" not in told:
        what = "whether it runs with appendfsync always"
        tell_hidden(primary, what, "redis.durability fsync needs it", "append_only", assumed)
    if sync not in (None, "always"):
        raise LedgerError(
            f"redis.durability is fsync, but {primary} runs with appendfsync {sync}: set it to "
            "always"
        )


async def _check_replicas(primary: Primary, wait_replicas: int, assumed: Collection[str]) -> None:
    if not await primary.can_wait():
        raise LedgerError(
            f"redis.durability is replicated, but {primary} does not let this user run WAIT"
        )
    told = await _told(primary, "replication")
    if "connected_slaves" not in told:
        needed = f"{wait_replicas} and min-replicas-to-write are needed"
        tell_hidden(primary, "how many replicas it has", needed, "replicas", assumed)
        return
    if (found := int(told["connected_slaves"])) < wait_replicas:
        raise LedgerError(
            f"redis.durability is replicated, but {primary} has {found} of the {wait_replicas} "
            "replicas that redis.wait_replicas asks for"
        )
    if "min_slaves_good_slaves" not in told:
        _log.warning(
            "%s takes writes without a replica, which a failover then loses: set "
            "min-replicas-to-write",
            primary,
        )


async def _told(primary: Primary, section: str) -> dict[str, Any]:
    try:
        return await primary.info(section)
    except ResponseError:  # managed services may forbid it
        return {}
