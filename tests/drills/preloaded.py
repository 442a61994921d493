"""A Redis server that notes each fsync, whose disk can lose power and whose clock can be wrong."""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
import sys
from pathlib import Path

from tests.harness.servers import NEWER, Server, program

_SOURCE = Path(__file__).with_name("preload.c")


def missing() -> str:
    """Return what this machine lacks for such a server, or ""."""
    if sys.platform != "linux":
        return "it needs Linux"
    return "" if shutil.which("cc") else "it needs a C compiler (cc)"


class PreloadedServer:
    """A server with a small library in front of its system calls.

    Args:
        appendfsync: the server's option.
    """

    def __init__(self, folder: Path, appendfsync: str = "everysec") -> None:
        folder.mkdir(parents=True)
        self._data = folder / "data"
        self._synced = folder / "synced"
        shift = folder / "shift"
        shift.write_bytes(bytes(8))
        with shift.open("r+b") as file:
            self._shift = mmap.mmap(file.fileno(), 8)
        library = folder / "preload.so"
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, _SOURCE],
            check=True,
        )
        start = folder / "server"
        start.write_text(
            f"#!/bin/sh\nexec env LD_PRELOAD={library} DRILL_SYNCED={self._synced} "
            f'DRILL_SHIFT={shift} {program(NEWER)} "$@"\n'
        )
        start.chmod(0o700)
        # A rewrite would put what was written into another file; here one file has it all.
        options = {"auto-aof-rewrite-percentage": "0", "appendfsync": appendfsync}
        self._server = Server(start, self._data, 0, options)
        self.url = self._server.url

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    def set_clock(self, ahead_ms: int) -> None:
        """Let the server's wall clock be wrong by so much from now on."""
        self._shift[:] = struct.pack("=q", ahead_ms)

    def lose_power(self) -> int:
        """Kill the server, and cut its files where their last completed fsync had them.

        Returns:
            The bytes that were written and are lost.
        """
        self._server.stop()
        lost = 0
        synced = self._synced_bytes()
        for path in (self._data / "appendonlydir").glob("*.incr.aof"):
            size = path.stat().st_size
            # A write after its fsync began is not known to be on the disk.
            kept = min(size, synced.get(path, 0))
            lost += size - kept
            with path.open("r+b") as file:
                file.truncate(kept)
        return lost

    def _synced_bytes(self) -> dict[Path, int]:
        last: dict[Path, int] = {}
        for line in self._synced.read_text().splitlines():
            size, _, path = line.partition(" ")
            last[Path(path)] = int(size)
        return last
