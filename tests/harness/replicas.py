"""A primary and its replicas on loopback, each a process of the test's own."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from tests.harness.servers import OLDEST, Server, free_ports, program

_WAIT_S = 120.0
_POLL_S = 0.02


class ReplicaSet:
    """A primary and its replicas. ``primary`` is the first one, until the test says otherwise.

    Args:
        password: of every server.
        options: of every server, such as ``min_replicas_to_write="1"``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        replicas: int = 2,
        kind: str = OLDEST,
        password: str = "",
        **options: str,
    ) -> None:
        options = {name.replace("_", "-"): value for name, value in options.items()}
        if password:
            options |= {"requirepass": password, "masterauth": password}
        self.password = password or None
        server_program = program(kind)
        self.servers = [
            Server(server_program, folder / str(port), port, options)
            for port in free_ports(1 + replicas)
        ]
        self.primary = self.servers[0]

    def start(self) -> None:
        """Start the servers, and wait until the replicas have what the primary has."""
        try:
            self.primary.start()
            for server in self.servers[1:]:
                self.start_as_replica(server)
            self.wait_until_in_step()
        except BaseException:
            self.stop()
            raise

    def start_as_replica(self, server: Server) -> None:
        """Start a server on the data that it had, which it gives up for the primary's."""
        server.start(leader_port=self.primary.port)

    def wait_until_in_step(self, timeout_s: float = _WAIT_S) -> None:
        """Wait until every other server that runs follows the primary and has all that it has."""
        wait_for(self._is_in_step, "the replicas do not catch up", timeout_s)

    def stop(self) -> None:
        """End all servers."""
        for server in self.servers:
            server.stop()

    def replication_of(self, server: Server) -> dict[str, Any]:
        """What a server says about replication; nothing if it does not answer within a second."""
        with asked(server.port, self.password) as client, suppress(RedisError):
            told: dict[str, Any] = client.info("replication")
            return told
        return {}

    def _is_in_step(self) -> bool:
        followers = [one for one in self.servers if one is not self.primary and one.runs]
        role = self.replication_of(self.primary)
        if role.get("role") != "master":
            return False
        for follower in followers:
            told = self.replication_of(follower)
            if (told.get("master_port"), told.get("master_link_status")) != (
                self.primary.port,
                "up",
            ):
                return False
        with asked(self.primary.port, self.password) as client, suppress(RedisError):
            return bool(client.wait(len(followers), 100) >= len(followers))
        return False


def wait_for(is_so: Any, otherwise: str, timeout_s: float = _WAIT_S) -> None:
    """Ask until something is so."""
    give_up_at_s = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < give_up_at_s, otherwise
        time.sleep(_POLL_S)


def asked(port: int, password: str | None = None) -> Any:
    """Return a client of a server on loopback that waits for a second at most."""
    return Redis(port=port, password=password, socket_timeout=1.0, socket_connect_timeout=1.0)
