"""Plain commands to the servers that hold the data: one, or each primary of a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakSet

from redis.asyncio import Redis, RedisCluster
from redis.crc import key_slot
from redis.exceptions import RedisClusterException, RedisError, ResponseError, SlotNotCoveredError

from runtime.background import cancellations
from runtime.redis.errors import RedisUnavailable, described
from runtime.redis.keys import bucket_of, slot_of_bucket

Client = Redis | RedisCluster

_ONE = "the server"


# Clients whose map names a server that did not answer: another one may have its slots by now.
# redis-py reads its map again only for commands with a key.
_in_doubt: WeakSet[RedisCluster] = WeakSet()


class Primary:
    """A server that holds data. ``str()`` gives its name for messages.

    Args:
        cluster: the client whose map names it.
    """

    def __init__(self, node: Any, name: str = _ONE, cluster: RedisCluster | None = None) -> None:
        self._node = node
        self._name = name
        self._cluster = cluster

    def __str__(self) -> str:
        return self._name

    async def info(self, section: str) -> dict[str, Any]:
        """Return a section of the server's INFO."""
        found: dict[str, Any] = await self._ask("INFO", section)
        return found

    async def setting(self, name: str) -> str | None:
        """Return one of the server's settings, or ``None`` if the server does not tell it."""
        try:
            found = await self._ask("CONFIG GET", name)
        except ResponseError:  # managed services may forbid it
            return None
        # redis-py's parser makes a mapping; without it, names and values alternate.
        values = list(found.values()) if isinstance(found, dict) else list(found[1::2])
        if not values:
            return None
        return values[0].decode() if isinstance(values[0], bytes) else str(values[0])

    async def run_id(self) -> str:
        """Return what names this run of the server, or "" if the server does not tell it."""
        try:
            return str((await self.info("server")).get("run_id", ""))
        except ResponseError:  # managed services may forbid it
            return ""

    async def size(self) -> int | None:
        """Return the number of the server's keys, or ``None`` if the server does not tell it."""
        try:
            return int(await self._ask("DBSIZE"))
        except ResponseError:
            return None

    async def scan(self, cursor: str, pattern: str, count: int) -> tuple[str, list[bytes]]:
        """Return the next cursor, "0" at the end, and some of the keys that match.

        A cursor is of one run of one server. Each key that is there all the while is returned.
        """
        found: tuple[Any, list[bytes]] = await self._ask(
            "SCAN", cursor, "MATCH", pattern, "COUNT", count
        )
        following, names = found
        return following.decode() if isinstance(following, bytes) else str(following), names

    async def is_moving(self, bucket: int) -> bool:
        """Return whether this server of a cluster just hands a bucket's slot to another one."""
        if self._name == _ONE:
            return False
        try:
            nodes = await self._ask("CLUSTER NODES")
        except ResponseError:  # managed services may forbid it
            return False
        slot = str(slot_of_bucket(bucket))
        return any(
            move["slot"] == slot
            for node in nodes.values()
            if "myself" in node["flags"]
            for move in node["migrations"]
        )

    async def can_wait(self) -> bool:
        """Return whether the server lets this user wait for replicas."""
        try:
            _ = await self._ask("WAIT", 0, 1)
        except ResponseError:
            return False
        return True

    async def time_ms(self) -> int:
        """Return the server's clock in whole milliseconds since 1970."""
        seconds, microseconds = await self._ask("TIME")
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def _ask(self, *command: str | int) -> Any:
        try:
            return await self._node.execute_command(*command)
        except ResponseError:
            raise
        except BaseException:  # a time-out comes as a cancellation
            if self._cluster is not None:
                _in_doubt.add(self._cluster)
            raise


async def primaries(client: Client) -> list[Primary]:
    """Return the servers that hold data, by the cluster's map.

    It is read if redis-py has none yet, or if one of its servers did not answer the last time.
    """
    if not isinstance(client, RedisCluster):
        return [Primary(client)]
    await _read_map(client)
    return [Primary(node, node.name, client) for node in client.get_primaries()]


async def shares(client: Client, buckets: Iterable[int]) -> list[tuple[Primary, list[int]]]:
    """Return the servers that hold these buckets, each with its buckets, as ``primaries`` does.

    Raises:
        RedisClusterException: no server has one of them.
    """
    if not isinstance(client, RedisCluster):
        return [(Primary(client), list(buckets))]
    await _read_map(client)
    nodes: Any = client.nodes_manager
    found: dict[str, tuple[Primary, list[int]]] = {}
    for bucket in buckets:
        try:
            node = nodes.get_node_from_slot(slot_of_bucket(bucket))
        except KeyError:  # which redis-py means to raise as the next one
            raise SlotNotCoveredError(f"no server has bucket {bucket}") from None
        _, own = found.setdefault(node.name, (Primary(node, node.name, client), []))
        own.append(bucket)
    return list(found.values())


def known_nodes(client: Client) -> list[tuple[str, int]]:
    """Return the host and port of every server of a cluster that its map has by now."""
    if not isinstance(client, RedisCluster):
        return []
    return [(node.host, int(node.port)) for node in client.get_nodes()]


async def _read_map(client: RedisCluster) -> None:
    _ = await client.initialize()
    if client in _in_doubt:
        nodes: Any = client.nodes_manager
        await nodes.initialize()
        _in_doubt.discard(client)


def primary_of(client: Client, account_id: str) -> str:
    """Return the name of the server that holds an account, or "" if the map has none."""
    return _primary_of_slot(client, slot_of_bucket(bucket_of(account_id)))


def primary_of_key(client: Client, key: str) -> str:
    """Return the name of the server that holds a key, or "" if the map has none."""
    return _primary_of_slot(client, key_slot(key.encode()))


def _primary_of_slot(client: Client, slot: int) -> str:
    if not isinstance(client, RedisCluster):
        return _ONE
    nodes: Any = client.nodes_manager
    try:
        return str(nodes.get_node_from_slot(slot).name)
    except (KeyError, SlotNotCoveredError):
        return ""


@asynccontextmanager
async def bounded(timeout_s: float) -> AsyncIterator[None]:
    """Bound plain commands, and raise one error instead of redis-py's.

    On Python 3.11, redis-py may lose a cancellation while it connects. It is raised here then.

    Raises:
        RedisUnavailable: Redis can't be reached or is too slow.
    """
    requested = cancellations()
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except (RedisError, RedisClusterException, OSError, TimeoutError, AttributeError) as exc:
        if cancellations() > requested:
            raise asyncio.CancelledError from exc
        if isinstance(exc, AttributeError) and not _is_of_redis_py(exc):
            raise
        raise RedisUnavailable(described(exc)) from exc
    if cancellations() > requested:
        raise asyncio.CancelledError


def _is_of_redis_py(error: AttributeError) -> bool:
    """Return whether redis-py used a connection that it had closed, as it does in a cluster."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return frame is not None and str(frame.tb_frame.f_globals.get("__name__")).startswith("redis.")
