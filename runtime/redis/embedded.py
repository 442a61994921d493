"""A private, real Redis server for the demo, for `run` and for tests.

Several processes can use one data folder at once: the first starts the server, others join it, and
the last to leave stops it. Three lock files in the folder make that work, because the kernel
releases a lock however its owner dies:

    start.lock   exclusive while somebody joins or leaves
    users.lock   shared by every user; whoever can make it exclusive is the last one
    server.lock  held by the server process itself, which inherits it: alive means locked

The server listens on a Unix socket only, so the known faults of old releases stay out of reach.
Where it comes from is `redis_binary`'s business.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.parse import quote

from runtime.files.private import make_private_folder
from runtime.redis.embedded_binary import EmbeddedRedisUnavailable, RedisBinary, find_server

__all__ = ["EmbeddedRedis", "EmbeddedRedisUnavailable", "find_server"]

_PREFIX = "creditgate-"
# sun_path holds 108 bytes on Linux and 104 on macOS, the closing zero included.
_LONGEST_SOCKET_PATH = 100
_POLL_SECONDS = 0.02
_TERMINATE_SECONDS = 10.0
_KILL_SECONDS = 5.0
_LOG_LINES_SHOWN = 15


class EmbeddedRedis:
    """A Redis server on a data folder, shared by all processes that use the folder.

    Use it as an async context manager. `data_dir` belongs to the server: it gets mode 700 and
    holds the append-only file, so the data is there again at the next start.

    Args:
        data_dir: the folder; made if missing.
        cache_dir: where a fetched server binary is kept; the user's cache by default.
        start_seconds: how long the server may take until it answers.

    Raises:
        EmbeddedRedisUnavailable: on entering, when there is no server to start, or it does not
            answer; the message says what to install, or shows the end of the server's log.
        NotPrivate: on entering, when others own the folder or can write to it.
    """

    # References to servers that go on running on purpose: without them, Python would warn of a
    # process left behind.
    _children: ClassVar[list[subprocess.Popen[bytes]]] = []

    def __init__(
        self, data_dir: Path, *, cache_dir: Path | None = None, start_seconds: float = 60.0
    ) -> None:
        self._dir = Path(data_dir).absolute()
        self._cache_dir = cache_dir
        self._start_seconds = start_seconds
        self._users_fd: int | None = None
        self._socket: str | None = None
        self._mutex = threading.Lock()

    @property
    def url(self) -> str:
        """The server's address for redis-py: ``unix://<socket>``."""
        if self._socket is None:
            raise RuntimeError("the embedded Redis is not in use: enter it first")
        return f"unix://{quote(self._socket)}"

    @property
    def pid(self) -> int:
        """The server's process id."""
        return int((self._dir / "redis.pid").read_text())

    async def __aenter__(self) -> Self:
        abandoned = threading.Event()
        try:
            await asyncio.to_thread(self._join, abandoned)
        except asyncio.CancelledError:
            # The thread can't be cancelled: let it finish, then undo what it did.
            abandoned.set()
            await asyncio.shield(asyncio.to_thread(self._leave))
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # In a thread, so that a second Ctrl-C can't leave the server half stopped.
        await asyncio.shield(asyncio.to_thread(self._leave))

    def _join(self, abandoned: threading.Event) -> None:
        with self._mutex:
            if abandoned.is_set():
                return
            make_private_folder(self._dir)
            self._dir.chmod(0o700)
            with self._exclusive_start(abandoned):
                users_fd = _open_lock(self._dir / "users.lock")
                try:
                    fcntl.flock(users_fd, fcntl.LOCK_SH)
                    self._socket = self._running_socket(abandoned)
                except BaseException:
                    self._stop_if_last(users_fd)
                    os.close(users_fd)
                    raise
                self._users_fd = users_fd

    def _leave(self) -> None:
        with self._mutex:
            if self._users_fd is None:
                return
            users_fd, self._users_fd, self._socket = self._users_fd, None, None
            with contextlib.ExitStack() as stack:
                stack.callback(os.close, users_fd)
                stack.enter_context(self._exclusive_start(threading.Event()))
                self._stop_if_last(users_fd)

    def _stop_if_last(self, users_fd: int) -> None:
        # A failed upgrade may drop the shared lock, which does not matter to a process that leaves.
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(users_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._stop_server()

    @contextlib.contextmanager
    def _exclusive_start(self, abandoned: threading.Event) -> Iterator[None]:
        give_up_at = time.monotonic() + self._start_seconds
        fd = _open_lock(self._dir / "start.lock")
        try:
            while True:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                busy = "another process has been starting or stopping it all along"
                self._pause(give_up_at, busy, abandoned)
            yield
        finally:
            os.close(fd)

    def _running_socket(self, abandoned: threading.Event) -> str:
        """Start the server unless it runs, and wait until it answers."""
        started = False
        give_up_at = time.monotonic() + self._start_seconds
        while True:
            if not self._is_running():
                if started:
                    raise self._unavailable("it ended right after its start")
                self._start_server()
                started = True
                give_up_at = time.monotonic() + self._start_seconds  # fetching it took its own time
            path = self._state().get("socket", "")
            if _answers(path):
                return str(path)
            silent = f"no answer within {self._start_seconds:g} s"
            self._pause(give_up_at, silent, abandoned)

    def _pause(self, give_up_at: float, why: str, abandoned: threading.Event) -> None:
        if abandoned.is_set():
            raise self._unavailable("its start was cancelled")
        if time.monotonic() > give_up_at:
            raise self._unavailable(why)
        time.sleep(_POLL_SECONDS)

    def _is_running(self) -> bool:
        fd = _open_lock(self._dir / "server.lock")
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def _start_server(self) -> None:
        self._reap()
        binary = find_server(self._cache_dir)
        state = self._state()
        self._refuse_older(binary, state)
        path = str(_socket_folder(state.get("socket")) / "redis.sock")
        Path(path).unlink(missing_ok=True)
        (self._dir / "redis.pid").unlink(missing_ok=True)
        # Written before the start, so that a process that finds the server also finds its socket.
        written = self._dir / "server.json.new"
        written.write_text(json.dumps({"socket": path, "version": binary.version}))
        written.replace(self._dir / "server.json")
        server_fd = _open_lock(self._dir / "server.lock")
        try:
            fcntl.flock(server_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with (self._dir / "redis.log").open("wb") as log:
                self._children.append(
                    subprocess.Popen(
                        [binary.path, *self._options(path)],
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        # An empty environment hides our keys and settings from the server, and a
                        # broken locale would keep it from starting.
                        env={"LC_ALL": "C"},
                        pass_fds=(server_fd,),
                        # Ctrl-C in a terminal must not reach the server: it stops after its users.
                        start_new_session=True,
                    )
                )
        except OSError as error:
            raise self._unavailable(f"{binary.path} can't be started: {error}") from error
        finally:
            os.close(server_fd)

    def _options(self, socket_path: str) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": socket_path,
            "unixsocketperm": "700",
            "dir": str(self._dir),
            "pidfile": str(self._dir / "redis.pid"),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "daemonize": "no",
            "protected-mode": "yes",
        }
        return [part for name, value in options.items() for part in (f"--{name}", value)]

    def _refuse_older(self, binary: RedisBinary, state: dict[str, Any]) -> None:
        wrote = tuple(state.get("version", ()))
        # Redis 6.2 does not find the append-only file of Redis 7 and would start empty.
        if wrote[:2] > binary.version[:2]:
            raise self._unavailable(
                f"its data was written by version {_dotted(wrote)}, and the server found "
                f"({binary.path}) is {_dotted(binary.version)}: install the newer one again, or "
                "remove the folder to start without data"
            )

    def _stop_server(self) -> None:
        self._end_server(signal.SIGTERM, _TERMINATE_SECONDS)
        self._end_server(signal.SIGKILL, _KILL_SECONDS)
        self._reap()
        folder = Path(self._state().get("socket", "")).parent
        if _is_private_folder(folder):
            shutil.rmtree(folder, ignore_errors=True)

    def _end_server(self, how: signal.Signals, within_seconds: float) -> None:
        give_up_at = time.monotonic() + within_seconds
        signalled = False
        while self._is_running() and time.monotonic() < give_up_at:
            if not signalled:
                # The lock proves that the server is alive, so the process id is its own. A server
                # that has just started may not have written it yet.
                with contextlib.suppress(FileNotFoundError, ValueError, ProcessLookupError):
                    os.kill(self.pid, how)
                    signalled = True
            time.sleep(_POLL_SECONDS)

    def _reap(self) -> None:
        self._children[:] = [child for child in self._children if child.poll() is None]

    def _state(self) -> dict[str, Any]:
        try:
            state = json.loads((self._dir / "server.json").read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}

    def _unavailable(self, why: str) -> EmbeddedRedisUnavailable:
        message = f"the embedded Redis server in {self._dir} is not available: {why}"
        with contextlib.suppress(OSError):
            lines = (self._dir / "redis.log").read_text(errors="replace").splitlines()
            if lines:
                shown = "\n  ".join(lines[-_LOG_LINES_SHOWN:])
                message += f"\nThe last lines of its log:\n  {shown}"
        return EmbeddedRedisUnavailable(message)


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _answers(socket_path: str) -> bool:
    """Return whether the server answers and has loaded its data."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1.0)
        try:
            client.connect(socket_path)
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def _socket_folder(recorded: str | None) -> Path:
    """Return a private folder with a short path; after a crash, the recorded one, to reconnect."""
    if recorded and _is_private_folder(Path(recorded).parent):
        return Path(recorded).parent
    folder = tempfile.mkdtemp(prefix=_PREFIX)
    if len(os.fsencode(folder)) + len("/redis.sock") > _LONGEST_SOCKET_PATH:
        Path(folder).rmdir()
        folder = tempfile.mkdtemp(prefix=_PREFIX, dir="/tmp")
    return Path(folder)


def _is_private_folder(folder: Path) -> bool:
    """Return whether the folder is ours: in a shared place, others can make one of this name."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return (
        folder.name.startswith(_PREFIX)
        and stat.S_ISDIR(found.st_mode)
        and stat.S_IMODE(found.st_mode) == 0o700
        and found.st_uid == os.getuid()
    )


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
