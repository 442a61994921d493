"""A Redis server of one test's own, to stop, freeze and start again."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path

from runtime.redis.embedded import EmbeddedRedis


def runs(data_dir: Path) -> bool:
    """Return whether a folder's server lives: it holds a lock until it ends, whatever of."""
    with (data_dir / "server.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


class PrivateRedis:
    """A server of one test's own, to stop, freeze and start again. Its `url` stays the same."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._joined = AsyncExitStack()
        self.url = ""
        self.pid = 0

    async def start(self) -> None:
        """Start the server on the data that it had."""
        server = await self._joined.enter_async_context(EmbeddedRedis(self._data_dir))
        assert self.url in {"", server.url}, "the address changed with the restart"
        self.url, self.pid = server.url, server.pid

    async def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Kill the server, or end it by another signal, and wait until it is gone."""
        os.kill(self.pid, how)
        async with asyncio.timeout(10):
            while runs(self._data_dir):  # noqa: ASYNC110  another process has no event to wait for
                await asyncio.sleep(0.01)

    def pause(self) -> None:
        """Freeze the server: it takes connections and commands, and answers none."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server go on."""
        os.kill(self.pid, signal.SIGCONT)

    async def aclose(self) -> None:
        """Stop the server for good."""
        if runs(self._data_dir):
            self.resume()
        await self._joined.aclose()
