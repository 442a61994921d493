"""Sentinels that watch a primary and its replicas, and failovers for tests and drills.

::

    group = SentinelGroup(folder, replicas=2)
    group.start()
    lost = group.fail_over(signal.SIGKILL)   # blocks until another server is the primary
    group.bring_back(lost)                   # blocks until it is a replica in step
    group.stop()
"""

from __future__ import annotations

import signal
import socket
from collections import Counter
from contextlib import suppress
from pathlib import Path

from redis.exceptions import RedisError

from tests.harness.replicas import ReplicaSet, asked, wait_for
from tests.harness.servers import OLDEST, Server, free_ports, program

MASTER = "mymaster"
DOWN_AFTER_MS = 500
"""How long a server must not answer to be called down, while one is lost on purpose."""
CALM_MS = 600_000
"""The same at all other times: a machine that stalls for seconds is no reason for a failover."""
# One that was not elected tries again after twice this time.
_FAILOVER_TIMEOUT_MS = 2_000
_FAILOVER_WITHIN_S = 150.0


class SentinelProcess(Server):
    """One sentinel, on a port of loopback."""

    def __init__(self, server_program: Path, folder: Path, port: int, lines: list[str]) -> None:
        super().__init__(server_program, folder, port)
        self._lines = lines

    def _arguments(self, leader_port: int) -> list[str]:
        file = self._folder / "sentinel.conf"
        if not file.exists():  # the sentinel writes into it what it finds out
            head = [f"port {self.port}", "bind 127.0.0.1", f"dir {self._folder}"]
            file.write_text("\n".join([*head, *self._lines]) + "\n", encoding="utf-8")
        return [str(file), "--sentinel"]

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0) as client:
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        return False


class SentinelGroup:
    """A primary with its replicas, and the sentinels that promote one when the primary is lost.

    Only one that is lost on purpose is called down: until ``fail_over``, and after it, the
    sentinels are patient.

    Args:
        password: of every server and every sentinel.
        options: of every server, such as ``min_replicas_to_write="1"``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        replicas: int = 2,
        sentinels: int = 3,
        kind: str = OLDEST,
        password: str = "",
        **options: str,
    ) -> None:
        self.data = ReplicaSet(
            folder / "servers", replicas=replicas, kind=kind, password=password, **options
        )
        lines = [
            f"sentinel monitor {MASTER} 127.0.0.1 {self.data.primary.port} {sentinels // 2 + 1}",
            f"sentinel down-after-milliseconds {MASTER} {CALM_MS}",
            f"sentinel failover-timeout {MASTER} {_FAILOVER_TIMEOUT_MS}",
            f"sentinel parallel-syncs {MASTER} {max(1, replicas)}",
        ]
        if password:
            lines += [f"sentinel auth-pass {MASTER} {password}", f"requirepass {password}"]
        self.sentinels = [
            SentinelProcess(program(kind), folder / "sentinels" / str(port), port, lines)
            for port in free_ports(sentinels)
        ]

    @property
    def nodes(self) -> list[str]:
        """The sentinels' addresses, as the configuration has them."""
        return [f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels]

    @property
    def primary(self) -> Server:
        """The server that was the primary when the group was last asked."""
        return self.data.primary

    def start(self) -> None:
        """Start everything, and wait until each sentinel knows all the others."""
        try:
            self.data.start()
            for sentinel in self.sentinels:
                sentinel.start()
            wait_for(self._is_known, "the sentinels do not find each other")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the sentinels and the servers."""
        for sentinel in self.sentinels:
            sentinel.stop()
        self.data.stop()

    def fail_over(self, how: signal.Signals = signal.SIGKILL) -> Server:
        """End (SIGKILL) or freeze (SIGSTOP) the primary, and wait until another one takes writes.

        Returns:
            The server that was lost.
        """
        lost = self.data.primary
        if how is signal.SIGSTOP:
            lost.pause()
        else:
            lost.stop(how)
        self.wait_for_another(lost)
        return lost

    def wait_for_another(self, lost: Server) -> None:
        """Have the sentinels call a lost primary down, and wait until another one takes writes."""
        self._call_down_after(DOWN_AFTER_MS)
        try:
            self._wait_for_another(lost)
        finally:
            self._call_down_after(CALM_MS)

    def switch_over(self) -> None:
        """Have a living primary replaced, as an operator does; wait until another takes writes."""
        before = self.data.primary
        with asked(self.sentinels[0].port, self.data.password) as client:
            client.execute_command("SENTINEL", "FAILOVER", MASTER)
        self._wait_for_another(before)

    def _wait_for_another(self, lost: Server) -> None:
        """Wait until the sentinels agree on a primary that is not this one, and it says so too."""

        def is_there() -> bool:
            named = self.named()
            if (
                named is None
                or named is lost
                or self.data.replication_of(named).get("role") != "master"
            ):
                return False
            self.data.primary = named
            return True

        # A sentinel that was stalled for two seconds trusts its clock again after thirty.
        wait_for(is_there, "no failover", _FAILOVER_WITHIN_S)

    def _call_down_after(self, milliseconds: int) -> None:
        """Set how long a server must not answer, at every sentinel that runs."""
        for sentinel in self.sentinels:
            if not sentinel.runs:
                continue

            def is_set(port: int = sentinel.port) -> bool:
                setting = ("down-after-milliseconds", milliseconds)
                with suppress(RedisError), asked(port, self.data.password) as client:
                    client.execute_command("SENTINEL", "SET", MASTER, *setting)
                    return True
                return False

            wait_for(is_set, f"the sentinel on {sentinel.port} does not answer")

    def bring_back(self, lost: Server) -> None:
        """Start or resume a server that was lost, and wait until it follows the primary.

        The sentinels take ten seconds to demote one that was frozen.
        """
        self.rejoin(lost)
        self.wait_until_in_step()

    def rejoin(self, lost: Server) -> None:
        """Start or resume a server that was lost.

        Not in a thread that ends before the server is to end: the kernel ends both together.
        """
        if lost.runs:
            lost.resume()
        else:
            self.data.start_as_replica(lost)

    def wait_until_in_step(self) -> None:
        """Wait until every server that runs follows the primary, and has all that it has."""
        wait_for(self._agree_that_it_is_up, "the sentinels do not agree, or call the primary down")
        self.data.primary = self.named() or self.data.primary
        self.data.wait_until_in_step()

    def named(self) -> Server | None:
        """The server that all sentinels that answer name as the primary, if they agree."""
        named: Counter[int] = Counter()
        for sentinel in self.sentinels:
            with suppress(RedisError), asked(sentinel.port, self.data.password) as client:
                told = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
                named[int(told[1])] += 1
        if len(named) != 1:
            return None
        (port,) = named
        return next(server for server in self.data.servers if server.port == port)

    def _agree_that_it_is_up(self) -> bool:
        return self.named() is not None and not any(map(self._is_called_down, self.sentinels))

    def _is_called_down(self, sentinel: SentinelProcess) -> bool:
        with suppress(RedisError), asked(sentinel.port, self.data.password) as client:
            return "down" in client.sentinel_master(MASTER)["flags"]
        return False

    def _is_known(self) -> bool:
        others, replicas = len(self.sentinels) - 1, len(self.data.servers) - 1
        for sentinel in self.sentinels:
            with asked(sentinel.port, self.data.password) as client:
                told = client.sentinel_master(MASTER)
            if (told["num-other-sentinels"], told["num-slaves"]) != (others, replicas):
                return False
        return True
