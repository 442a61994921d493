"""One address for whichever server is the primary, as a Sentinel or a proxy would keep it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from redis import Redis


class Address:
    """A link to a server's socket. Whoever connects follows it.

    Processes reach a server only once it is pointed to, so that a drill can look at the books of
    a server that has come back before anybody changes them.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="creditgate-", dir="/tmp"))
        self._link = self._folder / "primary.sock"
        self.url = f"unix://{self._link}"

    def point_to(self, url: str) -> None:
        """Let new connections reach the server at this address."""
        with Redis.from_url(url) as client:
            socket = client.config_get("unixsocket")["unixsocket"]
        new = self._folder / "new.sock"
        new.symlink_to(socket)
        new.replace(self._link)

    def point_nowhere(self) -> None:
        """Let nobody connect."""
        self._link.unlink(missing_ok=True)

    def remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
