"""An operator's hands on a cluster: moves slots, and fails primaries over."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, TypeVar

from redis import Redis
from redis.exceptions import RedisError

from runtime.redis.keys import bucket_of, slot_of_bucket
from tests.harness.servers import Cluster, Server

SOUND_UNDER_STALLS: Mapping[str, str] = MappingProxyType(
    {
        # A machine that stalls for less causes no failover that nobody asked for.
        "cluster-node-timeout": "5000",
        "cluster-replica-validity-factor": "0",
        "cluster-require-full-coverage": "no",
        "cluster-allow-replica-migration": "no",
    }
)
"""Settings of every server."""
REPLICATED: Mapping[str, str] = MappingProxyType({"min-replicas-to-write": "1"})

_PATIENCE_S = 90.0
_POLL_S = 0.05
_ANSWER_WITHIN_S = 10.0

_T = TypeVar("_T")


class ClusterOperator:
    """Changes a cluster step by step, and waits for what is so and never for a time.

    Args:
        cluster: with a replica for each primary, if anything is failed over.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def owner(self, account_id: str) -> Server:
        """Return the account's primary, once all servers that run agree on it."""
        slot = slot_of_bucket(bucket_of(account_id))
        return _until(lambda: self._owner(slot), f"the servers disagree about slot {slot}")

    def replica_of(self, primary: Server) -> Server:
        """Return the replica of a primary, once it is in step with it."""
        return _until(lambda: self._replica_of(primary), f"{primary.port} has no replica in step")

    def fail_over_by_kill(self, account_id: str, *, comes_back: bool = True) -> Server:
        """Kill the account's primary, and wait for its heir; return the one that was lost.

        Args:
            comes_back: as a replica, for which this waits.
        """
        lost = self.owner(account_id)
        self.replica_of(lost)
        lost.stop(signal.SIGKILL)
        _until(lambda: self._owner_but(account_id, lost), f"nobody succeeds {lost.port}")
        if comes_back:
            lost.start()
            self.wait_until_in_step()
        return lost

    def fail_over_by_command(self, account_id: str) -> None:
        """Let the replica of the account's primary take over, which loses nothing."""
        before = self.owner(account_id)
        with _client(self.replica_of(before)) as client:
            client.execute_command("CLUSTER", "FAILOVER")
        _until(lambda: self._owner_but(account_id, before), f"nobody succeeds {before.port}")
        self.wait_until_in_step()

    def wait_until_in_step(self) -> None:
        """Wait until every primary has a replica that follows it, and all agree on the slots."""
        _until(self._is_in_step, "the cluster does not become whole")

    def move(self, account_id: str, *, keys_at_once: int, pause_s: float) -> int:
        """Move the slot of an account to another primary, as ``redis-cli --cluster`` does.

        Args:
            keys_at_once: how many keys one MIGRATE moves.
            pause_s: between two of them; the account's keys are on both servers meanwhile.

        Returns:
            The number of keys that moved.
        """
        source = self.owner(account_id)
        target = next(server for server in self._primaries() if server is not source)
        slot = slot_of_bucket(bucket_of(account_id))
        source_id, target_id = (_id(server) for server in (source, target))
        moved = 0
        with _client(source) as here, _client(target) as there:
            there.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", source_id)
            here.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", target_id)
            while keys := here.execute_command("CLUSTER GETKEYSINSLOT", slot, keys_at_once):
                to = ("127.0.0.1", target.port, "", 0, 60_000)
                here.execute_command("MIGRATE", *to, "KEYS", *keys)
                moved += len(keys)
                time.sleep(pause_s)
        for server in (target, source, *self._primaries()):
            with _client(server) as client:
                client.execute_command("CLUSTER SETSLOT", slot, "NODE", target_id)
        _until(lambda: self._owner_but(account_id, source), f"slot {slot} has not moved")
        return moved

    def _primaries(self) -> list[Server]:
        return [server for server in self.cluster.servers if _role(server) == "master"]

    def _owner(self, slot: int) -> Server | None:
        ports = {_owner_port(server, slot) for server in self.cluster.servers if server.runs}
        if len(ports) != 1:
            return None
        (port,) = ports
        found = next((server for server in self.cluster.servers if server.port == port), None)
        return found if found is not None and _role(found) == "master" else None

    def _owner_but(self, account_id: str, former: Server) -> Server | None:
        found = self._owner(slot_of_bucket(bucket_of(account_id)))
        return None if found is former else found

    def _replica_of(self, primary: Server) -> Server | None:
        for server in self.cluster.servers:
            told = _replication(server) if server.runs else {}
            if told.get("role") == "slave" and told.get("master_port") == primary.port:
                with _client(primary) as client, suppress(RedisError):
                    if told["master_link_status"] == "up" and client.wait(1, 1_000):
                        return server
        return None

    def _is_in_step(self) -> bool:
        primaries = self._primaries()
        maps = {_slots(server) for server in self.cluster.servers}
        return (
            2 * len(primaries) == len(self.cluster.servers)
            and len(maps) == 1
            and None not in maps
            and all(self._replica_of(primary) for primary in primaries)
        )


def _until(ask: Callable[[], _T | None], otherwise: str) -> _T:
    """Ask until there is an answer, and return it."""
    give_up_at_s = time.monotonic() + _PATIENCE_S
    while not (found := ask()):
        assert time.monotonic() < give_up_at_s, otherwise
        time.sleep(_POLL_S)
    return found


def _client(server: Server) -> Any:
    return Redis.from_url(server.url, socket_timeout=_ANSWER_WITHIN_S)


def _id(server: Server) -> str:
    with _client(server) as client:
        return str(_raw(client, "CLUSTER", "MYID"), "ascii")


def _role(server: Server) -> str:
    return str(_replication(server).get("role", "")) if server.runs else ""


def _replication(server: Server) -> dict[str, Any]:
    with _client(server) as client, suppress(RedisError):
        return dict(client.info("replication"))
    return {}


def _slots(server: Server) -> str | None:
    """Return which primary has which slots, as a server sees it; ``None`` if it is not whole."""
    if not server.runs:
        return None
    with _client(server) as client, suppress(RedisError):
        if b"cluster_state:ok" in _raw(client, "CLUSTER", "INFO"):
            found = _raw(client, "CLUSTER", "SLOTS")
            return str(sorted((first, last, own[1]) for first, last, own, *_ in found))
    return None


def _owner_port(server: Server, slot: int) -> int | None:
    with _client(server) as client, suppress(RedisError):
        for first, last, own, *_ in _raw(client, "CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return int(own[1])
    return None


def _raw(client: Any, *command: str) -> Any:
    """Return an answer as the server sent it: redis-py knows each command by one name."""
    connection = client.connection_pool.get_connection()
    try:
        connection.send_command(*command)
        return connection.read_response()
    finally:
        client.connection_pool.release(connection)
