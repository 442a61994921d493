"""A private PostgreSQL server: on loopback and on a Unix socket, gone with its data at the end."""

from __future__ import annotations

import asyncio
import getpass
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.harness.servers import end_with_parent, free_ports

# For tests: nothing outlives the server, so nothing has to reach the disk.
QUICK = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "32MB", "jit": "off"}
# As a careful operator of a small server has it: nothing here costs durability.
CAREFUL = {
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "wal_buffers": "16MB",
    "jit": "off",
    "autovacuum_naptime": "5s",
}
_DEBIAN = Path("/usr/lib/postgresql")
_START_S = 30.0
_END_S = 20.0
_POLL_S = 0.05


class PostgresUnavailable(RuntimeError):
    """There is no PostgreSQL to start, or it does not answer."""


def refuse_or_skip(error: PostgresUnavailable) -> None:
    """A missing server is a skip on a laptop and a failure in CI."""
    if os.environ.get("CI"):
        raise error
    pytest.skip(str(error))


class PostgresServer:
    """A server that takes every local user at its word.

    Its superusers are ``postgres`` and the user that runs the tests, so that a URL needs none.
    """

    def __init__(self, settings: Mapping[str, str] = QUICK) -> None:
        self._programs = _programs()
        self._identity = _identity()
        self.folder = Path(tempfile.mkdtemp(prefix="creditgate-pg-", dir="/tmp"))
        if self._identity:
            os.chown(self.folder, self._identity["user"], self._identity["group"])
        (self.port,) = free_ports(1)
        self._settings = {
            **settings,
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._made = False

    @property
    def pid(self) -> int:
        """The process that starts all others."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the server on the data that it had, and wait until it answers."""
        if not self._made:
            self._make()
        options = [
            part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")
        ]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, *options],
                cwd=self.folder,
                env={"LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a terminal's Ctrl-C is for pytest
                preexec_fn=end_with_parent,  # noqa: PLW1509 - one call, no lock
                **self._identity,
            )
        self._wait()
        if not self._made:
            self._made = True
            if getpass.getuser() != "postgres":
                self.sql("CREATE ROLE postgres SUPERUSER LOGIN", "postgres")

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run a statement and return what psql prints of it."""
        command = [str(self._programs / "psql"), "-h", str(self.folder), "-p", str(self.port)]
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [*command, "-d", database, "-v", "ON_ERROR_STOP=1", "-Atc", statement],
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise PostgresUnavailable(done.stderr[-2_000:])
        return done.stdout.strip()

    def new_database(self) -> str:
        """Make an empty database, and return the URL that ``archive.url`` takes."""
        name = f"d{uuid.uuid4().hex[:12]}"
        self.sql(f"CREATE DATABASE {name}")
        return f"postgresql://127.0.0.1:{self.port}/{name}"

    def kill(self) -> None:
        """End the server as a crash does, with all of its processes."""
        self._end(signal.SIGQUIT)

    def stop(self) -> None:
        """End the server and delete its data."""
        self.kill()  # an orderly end would write what is deleted next
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    def _make(self) -> None:
        options = ["-U", getpass.getuser(), "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        done = subprocess.run(
            [self._programs / "initdb", "-D", self._data, *options],
            check=False,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={"LC_ALL": "C"},
            **self._identity,
        )
        if done.returncode != 0:
            raise PostgresUnavailable((done.stdout + done.stderr)[-2_000:])

    def _wait(self) -> None:
        assert self._process is not None
        give_up_at = time.monotonic() + _START_S
        ready = [
            str(self._programs / "pg_isready"),
            "-q",
            "-h",
            str(self.folder),
            "-p",
            str(self.port),
        ]
        while subprocess.run(ready, check=False, capture_output=True).returncode != 0:
            if self._process.poll() is not None or time.monotonic() > give_up_at:
                log = (self.folder / "log").read_text(errors="replace")
                raise PostgresUnavailable(f"PostgreSQL does not start:\n{log[-2_000:]}")
            time.sleep(_POLL_S)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGQUIT)  # its children go with it
            self._process.wait(_END_S)
        self._process = None


@asynccontextmanager
async def open_postgres(settings: Mapping[str, str]) -> AsyncIterator[PostgresServer]:
    """Start a server, and stop it afterwards, without holding up the event loop."""
    server = await asyncio.to_thread(PostgresServer, settings)
    try:
        await asyncio.to_thread(server.start)
        yield server
    finally:
        await asyncio.shield(asyncio.to_thread(server.stop))


def _programs() -> Path:
    """Return where initdb and postgres are: Debian keeps them off PATH, a folder a version."""
    found = [path.parent for path in _DEBIAN.glob("*/bin/postgres")]
    if found:
        return max(found, key=lambda path: float(path.parent.name))
    on_path = shutil.which("postgres")
    if on_path is None:
        raise PostgresUnavailable("no PostgreSQL found; install it: apt-get install postgresql")
    return Path(on_path).parent


def _identity() -> dict[str, Any]:
    """Return who the server runs as: it refuses to be root."""
    if os.getuid() != 0:
        return {}
    try:
        user = pwd.getpwnam("postgres")
    except KeyError as error:
        raise PostgresUnavailable("run as root, PostgreSQL needs a user 'postgres'") from error
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
