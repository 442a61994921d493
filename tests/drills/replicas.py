"""A primary with two replicas, and failovers between them."""

from __future__ import annotations

import random
import time
from pathlib import Path

from redis import Redis

from tests.drills.address import Address
from tests.harness.servers import NEWER, Server, free_ports, program

_WITHIN_S = 30.0
_OPTIONS = {
    "repl-diskless-sync-delay": "0",
    "repl-backlog-size": "32mb",
    "repl-ping-replica-period": "1",
}


class Replicas:
    """Three servers. Processes reach the primary by one address, whichever server it is."""

    def __init__(self, folder: Path) -> None:
        self._path = program(NEWER)
        self._servers = [
            Server(self._path, folder / f"redis-{port}", port, _OPTIONS) for port in free_ports(3)
        ]
        self._address = Address()
        self.url = self._address.url
        self.primary = self._servers[0]
        self._dead: Server | None = None

    @property
    def replicas(self) -> list[Server]:
        return [server for server in self._servers if server is not self.primary]

    def start(self) -> None:
        """Start the servers, and wait until the replicas have caught up."""
        for server in self._servers:
            server.start()
        for server in self.replicas:
            self._follow(server)
        self.wait_until_whole()
        self._address.point_to(self.primary.url)

    def stop(self) -> None:
        for server in self._servers:
            server.stop()
        self._address.remove()

    def cut_off(self, server: Server) -> None:
        """Let a replica receive nothing more, as behind a broken line; it keeps what it has."""
        with Redis.from_url(server.url) as client:
            client.replicaof("127.0.0.1", 1)

    def kill_primary(self) -> Server:
        """Kill the primary; return it. Nobody is elected yet."""
        self.primary.stop()
        self._address.point_nowhere()
        self._dead = self.primary
        return self.primary

    def elect(self, chance: random.Random) -> None:
        """Make one of the replicas the primary, whichever it is and whatever it lacks.

        Processes do not reach it before ``introduce``.
        """
        self.primary = chance.choice(self.replicas)  # of which none is the dead one yet
        with Redis.from_url(self.primary.url) as client:
            client.replicaof("NO", "ONE")

    def introduce(self) -> None:
        """Let processes reach the new primary, and the replica that is left follow it."""
        self._address.point_to(self.primary.url)
        for server in self.replicas:
            if server is not self._dead:
                self._follow(server)

    def rejoin(self, server: Server) -> None:
        """Let the dead primary, which was started again, follow the new one."""
        self._dead = None
        self._follow(server)
        self.wait_until_whole()

    def wait_until_whole(self) -> None:
        """Wait until both replicas have what the primary has."""
        give_up_at_s = time.monotonic() + _WITHIN_S
        with Redis.from_url(self.primary.url) as client:
            while True:
                info = client.info("replication")
                states = [info.get(f"slave{number}", {}).get("state") for number in (0, 1)]
                if states == ["online", "online"]:
                    return
                assert time.monotonic() < give_up_at_s, f"the replicas do not come up: {info}"
                time.sleep(0.02)

    def _follow(self, server: Server) -> None:
        with Redis.from_url(server.url) as client:
            client.replicaof("127.0.0.1", self.primary.port)
