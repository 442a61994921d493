"""A private PostgreSQL server on a Unix socket, gone with its data when it is left."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

# As a careful operator of a small server has it: nothing here costs durability.
_SETTINGS = {
    "listen_addresses": "",
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "wal_buffers": "16MB",
    "jit": "off",
    "autovacuum_naptime": "5s",
    # Every lookup is by a key; statistics of a table that is empty at times must not mislead.
    "enable_seqscan": "off",
}
_DEBIAN = Path("/usr/lib/postgresql")
_START_S = 30.0
_END_S = 20.0
_POLL_S = 0.05


class PostgresUnavailable(RuntimeError):
    """There is no PostgreSQL to start, or it does not answer."""


@asynccontextmanager
async def open_postgres() -> AsyncIterator[str]:
    """Start a server; its socket's folder is the host to connect to, as user ``postgres``."""
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="creditgate-bench-pg-"))
    identity = _identity()
    if identity:
        os.chown(folder, identity["user"], identity["group"])
    try:
        data = folder / "data"
        options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        await _run([str(programs / "initdb"), "-D", str(data), *options], folder, identity)
        async with _running(programs / "postgres", data, folder, identity):
            yield str(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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


async def _run(command: list[str], folder: Path, identity: dict[str, Any]) -> None:
    process = await _start(command, folder, identity)
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise PostgresUnavailable(output.decode(errors="replace")[-2_000:])


async def _start(
    command: list[str], folder: Path, identity: dict[str, Any]
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={"LC_ALL": "C"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        # A terminal's Ctrl-C is for the benchmark, which then ends this process.
        start_new_session=True,
        **identity,
    )


@asynccontextmanager
async def _running(
    program: Path, data: Path, folder: Path, identity: dict[str, Any]
) -> AsyncIterator[None]:
    settings = {**_SETTINGS, "unix_socket_directories": str(folder)}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    process = await _start([str(program), "-D", str(data), *options], folder, identity)
    try:
        await _answers(process, str(folder))
        yield
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)  # a fast shutdown
        await asyncio.shield(_ended(process))


async def _answers(process: asyncio.subprocess.Process, host: str) -> None:
    async with asyncio.timeout(_START_S):
        while True:
            if process.returncode is not None:
                output, _ = await process.communicate()
                raise PostgresUnavailable(output.decode(errors="replace")[-2_000:])
            try:
                connection = await asyncpg.connect(host=host, user="postgres")
            except (OSError, asyncpg.CannotConnectNowError):
                await asyncio.sleep(_POLL_S)
            else:
                await connection.close()
                return


async def _ended(process: asyncio.subprocess.Process) -> None:
    try:
        async with asyncio.timeout(_END_S):
            await process.communicate()
    except TimeoutError:
        process.send_signal(signal.SIGQUIT)  # its children go with it
        await process.communicate()
