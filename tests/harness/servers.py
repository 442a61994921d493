"""The Redis servers that the ledger is tested on, each started at its first use.

None of them is a service of the machine: each is a process of the tests, with a folder of its own.
"""

from __future__ import annotations

import ctypes
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest import mock

import pytest
from redis import Redis
from redis.exceptions import RedisError

from runtime.redis.embedded_binary import EmbeddedRedisUnavailable, find_server

OLDEST, NEWER, CLUSTER, VALKEY = "6.2", "7", "cluster", "valkey"
OTHERS = (NEWER, CLUSTER, VALKEY)
CLUSTER_SCHEME = "cluster+"
SLOTS = 16_384
PRIMARIES = 3
"""Of a cluster."""
_START_SECONDS = 60.0
_NODE_TIMEOUT_MS, _CALM_NODE_TIMEOUT_MS = 3_000, 60_000
_POLL_SECONDS = 0.02
_NEVER_HANDED_OUT = range(10_000, 32_000)


class ServerProgramMissing(Exception):
    """This machine has no server, or no client program, of the kind that is wanted."""


class NotPackagedHere(ServerProgramMissing):
    """Some of the systems that the tests run on have no package of it."""


def program(kind: str) -> Path:
    """The server program for one of the kinds.

    Raises:
        ServerProgramMissing: the message says what to install.
    """
    if kind == VALKEY:
        if found := _found("valkey-server"):
            return Path(found)
        raise NotPackagedHere("no Valkey: apt-get install valkey-server, where there is one")
    if kind == OLDEST:
        try:
            # Whatever is on PATH: the oldest release that the ledger promises to run on.
            with mock.patch.dict(os.environ, PATH=""):
                return find_server().path
        except EmbeddedRedisUnavailable as error:
            raise ServerProgramMissing(f"no Redis 6.2: {error}") from error
    for name in ("redis-server", "valkey-server"):
        if (found := _found(name)) and _major_version(found) >= 7:
            return Path(found)
    raise ServerProgramMissing("no Redis 7 or newer: apt-get install redis-server")


def _found(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/bin:/usr/local/bin")


def _major_version(server_program: str) -> int:
    told = subprocess.run([server_program, "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"\bv=(\d+)", told.stdout)
    return int(found[1]) if found else 0


def _client_program() -> str:
    for name in ("redis-cli", "valkey-cli"):
        if found := _found(name):
            return found
    raise ServerProgramMissing("no redis-cli: apt-get install redis-server")


def refuse_or_skip(error: ServerProgramMissing) -> None:
    """A missing server is a skip on a laptop and, if its system has it, a failure in CI."""
    if os.environ.get("CI") and not isinstance(error, NotPackagedHere):
        raise error
    pytest.skip(str(error))


class Server:
    """One server process, on a Unix socket or on a port of loopback.

    Args:
        renamed: commands that nobody has there.
    """

    def __init__(
        self,
        server_program: Path,
        folder: Path,
        port: int = 0,
        options: Mapping[str, str] = MappingProxyType({}),
        *,
        renamed: tuple[str, ...] = (),
    ) -> None:
        self._renamed = renamed
        self._program = server_program
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.port = port
        # Not in the folder, whose path may be longer than a socket's may be.
        self._socket_folder = Path(tempfile.mkdtemp(prefix="creditgate-", dir="/tmp"))
        self.url = (
            f"redis://127.0.0.1:{port}" if port else f"unix://{self._socket_folder}/redis.sock"
        )

    def start(self, *, leader_port: int = 0) -> None:
        """Start the server on the data that it had, and wait until it answers.

        With a ``leader_port`` it follows the server there, and takes its data instead.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._socket_folder.mkdir(mode=0o700, exist_ok=True)
        arguments = self._arguments(leader_port)
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"LC_ALL": "C"},
                start_new_session=True,  # a terminal's Ctrl-C is for pytest
                preexec_fn=end_with_parent,  # noqa: PLW1509 - one call, no lock
            )
        give_up_at = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > give_up_at:
                log_text = (self._folder / "redis.log").read_text(errors="replace")
                self.stop()
                raise AssertionError(f"{self._program} does not start:\n{log_text[-2000:]}")
            time.sleep(_POLL_SECONDS)

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End the server, and wait until it is gone."""
        if self._process is None:
            return
        self.resume()
        self._process.send_signal(how)
        self._process.wait(10)
        self._process = None
        shutil.rmtree(self._socket_folder, ignore_errors=True)

    @property
    def runs(self) -> bool:
        """Whether the process lives, frozen or not."""
        return self._process is not None and self._process.poll() is None

    def pause(self) -> None:
        """Freeze the server: it takes connections and commands, and answers none."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _arguments(self, leader_port: int) -> list[str]:
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "unixsocket": f"{self._socket_folder}/redis.sock",
            "dir": str(self._folder),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            **self._options,
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        for command in self._renamed:
            arguments += ["--rename-command", command, ""]
        if leader_port:
            arguments += ["--replicaof", "127.0.0.1", str(leader_port)]
        return arguments

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(1.0)
            try:
                client.connect(f"{self._socket_folder}/redis.sock")
                client.sendall(b"PING\r\n")
                return client.recv(64).startswith((b"+PONG", b"-NOAUTH"))
            except OSError:
                return False


class Cluster:
    """Primaries on loopback that share the slots, the first of its servers; three, as a rule.

    Args:
        primaries: one alone, or at least three.
        replicas: of each primary.
    """

    def __init__(
        self,
        folder: Path,
        options: Mapping[str, str] = MappingProxyType({}),
        *,
        primaries: int = PRIMARIES,
        replicas: int = 0,
    ) -> None:
        server_program = program(CLUSTER)
        self._client_program = _client_program()
        self._replicas = replicas
        count = primaries * (1 + replicas)
        ports = free_ports(2 * count)
        self.servers = [
            Server(
                server_program,
                folder / str(port),
                port,
                {
                    "cluster-enabled": "yes",
                    "cluster-port": str(bus_port),
                    "cluster-node-timeout": str(_NODE_TIMEOUT_MS),
                    **options,
                },
            )
            for port, bus_port in zip(ports[:count], ports[count:], strict=True)
        ]
        self.url = CLUSTER_SCHEME + self.servers[0].url

    def start(self) -> None:
        """Start the servers, and join them."""
        try:
            for server in self.servers:
                server.start()
            self._join()
            # Until now impatient: they gossip the more often.
            self.wait_until_whole()
            self._set_node_timeout(_CALM_NODE_TIMEOUT_MS)
        except BaseException:
            self.stop()
            raise

    def _join(self) -> None:
        if len(self.servers) == 1:
            with Redis.from_url(self.servers[0].url) as client:
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
            return
        addresses = [f"127.0.0.1:{server.port}" for server in self.servers]
        options = ["--cluster-replicas", str(self._replicas), "--cluster-yes"]
        done = subprocess.run(
            [self._client_program, "--cluster", "create", *addresses, *options],
            check=False,
            capture_output=True,
            text=True,
            timeout=_START_SECONDS,
        )
        assert done.returncode == 0, f"no cluster: {done.stdout[-1000:]}{done.stderr[-1000:]}"

    def wait_until_whole(self) -> None:
        """Wait until every server sees all slots served, and every replica has caught up."""
        give_up_at = time.monotonic() + _START_SECONDS
        for server in self.servers:
            with Redis.from_url(server.url) as client:
                while not _is_whole(client):
                    assert time.monotonic() < give_up_at, "the cluster does not come up"
                    time.sleep(_POLL_SECONDS)

    @contextmanager
    def impatient(self) -> Iterator[None]:
        """Have the servers agree soon that one is lost, and that it is back.

        At other times a machine that stalls for seconds is no reason for them to.
        """
        self._set_node_timeout(_NODE_TIMEOUT_MS)
        try:
            yield
        finally:
            self._set_node_timeout(_CALM_NODE_TIMEOUT_MS)

    def wait_until_lost(self, lost: Server) -> None:
        """Wait until the other primaries agree that one is lost."""
        give_up_at = time.monotonic() + _START_SECONDS
        for server in self.servers[:PRIMARIES]:
            if server is lost or not server.runs:
                continue
            with Redis.from_url(server.url) as client:
                while not _calls_lost(client, lost.port):
                    assert time.monotonic() < give_up_at, "nobody notices the loss"
                    time.sleep(_POLL_SECONDS)

    def _set_node_timeout(self, milliseconds: int) -> None:
        for server in self.servers:
            # One that is frozen takes it up when it goes on.
            with suppress(RedisError), Redis.from_url(server.url, socket_timeout=2) as client:
                client.config_set("cluster-node-timeout", milliseconds)

    def stop(self) -> None:
        """End all servers."""
        for server in self.servers:
            server.stop()


class LedgerServers:
    """One server of each kind for the session, started when a test first asks for it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running = ExitStack()
        self._urls: dict[str, str] = {}

    def url(self, kind: str) -> str:
        """Where the server of this kind is; a cluster's begins with ``cluster+``."""
        if kind not in self._urls:
            try:
                server = self._made(kind)
            except ServerProgramMissing as error:
                refuse_or_skip(error)
                raise
            server.start()
            self._running.callback(server.stop)
            self._urls[kind] = server.url
        return self._urls[kind]

    def close(self) -> None:
        """End all of them."""
        self._running.close()

    def _made(self, kind: str) -> Server | Cluster:
        folder = self._folder / kind
        return Cluster(folder) if kind == CLUSTER else Server(program(kind), folder)


def end_with_parent() -> None:
    """Have the kernel end this process when the one that started it is gone. Linux can."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _calls_lost(client: Any, port: int) -> bool:
    nodes = client.execute_command("CLUSTER NODES")
    return any(
        "fail" in node["flags"].split(",")
        for address, node in nodes.items()
        if address.endswith(f":{port}")
    )


def _is_whole(client: Any) -> bool:
    if b"cluster_state:ok" not in bytes(client.execute_command("CLUSTER", "INFO")):
        return False
    told = client.info("replication")
    return bool(told["role"] == "master" or told["master_link_status"] == "up")


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody listens on just now.

    They lie below those that the kernel hands out, or another process of the tests could be given
    one before its server listens. The choice is not seeded, or two processes would make the same.
    """
    chance = random.SystemRandom()
    with ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < count:
            held = stack.enter_context(socket.socket())
            with suppress(OSError):
                held.bind(("127.0.0.1", chance.choice(_NEVER_HANDED_OUT)))
                ports.append(int(held.getsockname()[1]))
        return ports
