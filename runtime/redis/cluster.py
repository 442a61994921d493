"""A Redis Cluster: finds the server that owns an account's slot, and follows slots that move.

The slot map is redis-py's. It is read again whenever a server contradicts it or can't be reached.
The connections are creditgate's own, in a pool for each server: redis-py closes its connections,
even those in use, when it reads the map again, and a script call that is cut off has an unknown
outcome.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.cluster import get_node_name
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    MovedError,
    RedisClusterException,
    RedisError,
    SlotNotCoveredError,
    TryAgainError,
)

from runtime.redis.connections import InBackground, PooledConnection, Reply, Server
from runtime.redis.errors import NotReached, described
from runtime.redis.transport import Delivery, ScriptTransport, ServerTransport

_log = logging.getLogger("creditgate.ledger")

# Errors of a server that did not run the script; another one, or the same one soon, can.
# MASTERDOWN is a ClusterDownError too, MOVED an AskError.
_PASSING = (AskError, TryAgainError, ClusterDownError, BusyLoadingError)
# What a server sends instead of an address that it does not know.
_SAME_HOST = ("", "?")
# Two servers may name each other for a moment.
_REDIRECTIONS_AT_ONCE = 4
_BACK_OFF_S = (0.01, 0.02, 0.04, 0.08)
_SHARE_FOR_TRYING = 0.8
_READ_MAP_EVERY_S = 0.1


class ClusterMap:
    """The servers of a cluster by slot, each with its connections.

    Args:
        client: provides the slot map, and the settings that connections are made with.
        timeout_s: for making a connection and for reading the map.
    """

    def __init__(self, client: RedisCluster, timeout_s: float, in_background: InBackground) -> None:
        self._client = client
        self._nodes: Any = client.nodes_manager  # redis-py types it in parts only
        self._timeout_s = timeout_s
        self._in_background = in_background
        self._servers: dict[str, Server] = {}
        self._reading: asyncio.Task[str | None] | None = None
        self._read_again_at_s = 0.0
        self._can_read = True

    def owner(self, slot: int) -> Server | None:
        """Return the slot's server, or ``None`` if the map has none or was never read."""
        try:
            node = self._nodes.get_node_from_slot(slot)
        except (SlotNotCoveredError, KeyError):
            return None
        return self._servers.get(node.name) or self._server(node)

    def named_by(self, error: AskError, by: Server) -> Server:
        """Return the server that a redirection names."""
        host = by.host if error.host in _SAME_HOST else error.host
        host, port = self._nodes.remap_host_port(host, error.port)
        if (server := self._servers.get(get_node_name(host, port))) is not None:
            return server
        return self._server(ClusterNode(host, port, **self._nodes.connection_kwargs))

    async def read(self) -> None:
        """Read the map, or wait for a read that is under way.

        Raises:
            RedisClusterException: no server can be reached.
        """
        # In a separate task: redis-py may swallow a cancellation, which must reach the caller.
        if (fault := await asyncio.shield(self._reading_now())) is not None:
            raise RedisClusterException(fault)

    def read_soon(self) -> None:
        """Read the map in the background, unless that was just done."""
        if asyncio.get_running_loop().time() >= self._read_again_at_s:
            _ = self._reading_now()

    async def drain(self) -> None:
        """Close the idle connections."""
        if self._reading is not None:
            await asyncio.wait([self._reading])
        for server in self._servers.values():
            await server.drain()

    def _reading_now(self) -> asyncio.Task[str | None]:
        if self._reading is None or self._reading.done():
            self._read_again_at_s = asyncio.get_running_loop().time() + _READ_MAP_EVERY_S
            self._reading = asyncio.create_task(self._read())
        return self._reading

    async def _read(self) -> str | None:
        """Read the map and return what went wrong, or ``None``."""
        is_there = bool(self._nodes.slots_cache)
        try:
            async with asyncio.timeout(self._timeout_s):
                _ = await self._client.initialize()
                if is_there:
                    await self._nodes.initialize()
        except Exception as exc:  # noqa: BLE001 - redis-py lets more than its own errors through
            if self._can_read:
                _log.warning("the map of the cluster can't be read: %s", described(exc))
            self._can_read = False
            return described(exc)
        self._can_read = True
        for name in self._servers.keys() - self._nodes.nodes_cache.keys():
            self._servers.pop(name).retire()
        return None

    def _server(self, node: ClusterNode) -> Server:
        # Like the node's own connections, but without time-outs: each call is bounded as a whole.
        options = dict(node.connection_kwargs, socket_timeout=None, retry=Retry(NoBackoff(), 0))
        pool = BlockingConnectionPool(
            max_connections=node.max_connections,
            timeout=self._timeout_s,
            connection_class=node.connection_class,
            **options,
        )
        server = Server(pool, self._in_background, shared=False, host=node.host)
        self._servers[node.name] = server
        return server


class ClusterTransport(ScriptTransport):
    """Runs scripts on the server that owns the request's slot."""

    def __init__(self, client: RedisCluster, timeout_ms: int, replicas: int = 0) -> None:
        super().__init__(timeout_ms, replicas)
        self._map = ClusterMap(client, self._timeout_s, self._in_background)

    async def _deliver(self, delivery: Delivery) -> tuple[PooledConnection, Reply]:
        slot = delivery.request.slot
        server, asking, refusals = self._map.owner(slot), False, 0
        time_s = asyncio.get_running_loop().time
        # The rest is for the last answer: if it were cut off, its outcome would be unknown.
        until_s = time_s() + self._timeout_s * _SHARE_FOR_TRYING
        while True:
            if server is None:
                server = await self._find(delivery)
            delivery.server = server
            connection = delivery.connection = server.take_idle() or await server.take()
            try:
                return connection, await self._exchange(connection, delivery.request, asking=asking)
            except _PASSING as error:
                server.keep(connection)
                delivery.connection = None
                if not (isinstance(error, AskError) and delivery.refusal):
                    delivery.refusal = described(error)
                if time_s() > until_s:
                    raise NotReached(delivery.refusal) from error
                server, asking = await self._next(error, server, slot, refusals)
                refusals += 1

    async def _next(
        self, error: RedisError, asked: Server, slot: int, refusals: int
    ) -> tuple[Server | None, bool]:
        """Return the server to ask after a refusal, and whether to send ASKING first."""
        if isinstance(error, AskError):
            has_moved = isinstance(error, MovedError)
            if has_moved:
                self._map.read_soon()
            if refusals >= _REDIRECTIONS_AT_ONCE:
                await _back_off(refusals)
            return self._map.named_by(error, asked), not has_moved
        if not isinstance(error, TryAgainError):
            self._map.read_soon()
        await _back_off(refusals)
        return self._map.owner(slot), False

    async def _find(self, delivery: Delivery) -> Server:
        """Read the map until it knows the slot's server."""
        tries = 0
        await self._map.read()
        while (server := self._map.owner(delivery.request.slot)) is None:
            delivery.refusal = f"no server has slot {delivery.request.slot}"
            await _back_off(tries)
            tries += 1
            await self._map.read()
        return server

    def _leave(self, delivery: Delivery) -> None:
        self._map.read_soon()
        super()._leave(delivery)

    async def _give_back(self) -> None:
        await self._map.drain()


def transport_to(
    client: Redis | RedisCluster, timeout_ms: int, replicas: int = 0
) -> ScriptTransport:
    """Return the transport for this kind of client."""
    if isinstance(client, RedisCluster):
        return ClusterTransport(client, timeout_ms, replicas)
    return ServerTransport(client, timeout_ms, replicas)


async def _back_off(tries: int) -> None:
    longest_s = _BACK_OFF_S[min(tries, len(_BACK_OFF_S) - 1)]
    await asyncio.sleep(random.uniform(longest_s / 2, longest_s))  # noqa: S311 - jitter
