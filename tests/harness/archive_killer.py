"""An archiver that is killed just before or after its n-th statement, on either side.

One process imports everything, and forks one that archives for each line on its stdin, a number.
It answers ``killed`` or ``done``.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

import asyncpg
from redis.asyncio.client import Pipeline
from sqlalchemy import event
from sqlalchemy.engine import Engine

from runtime.archive.copier import Copier
from runtime.redis.keys import Keys
from runtime.store.database import database_url, open_database
from tests.harness.ledger.desk import connect


class Fuse:
    """Kills its process when it has been touched so often."""

    def __init__(self, at: int) -> None:
        self._left = at

    def touch(self, *_: Any) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, kind: type, name: str) -> None:
        """Touch before and after a method."""
        real = getattr(kind, name)

        async def touching(*args: Any, **options: Any) -> Any:
            self.touch()
            answer = await real(*args, **options)
            self.touch()
            return answer

        setattr(kind, name, touching)


async def _archive(redis_url: str, prefix: str, archive_url: str) -> None:
    async with connect(redis_url) as client, open_database(database_url(archive_url)) as database:
        await Copier(database, client, Keys(prefix), timeout_ms=10_000).run_once()


def _archive_until_killed(at: int, places: list[str]) -> None:
    fuse = Fuse(at)
    fuse.around(Pipeline, "execute")
    for name in ("copy_records_to_table", "fetch", "execute"):
        fuse.around(asyncpg.Connection, name)
    for name in ("before_cursor_execute", "after_cursor_execute", "commit"):
        event.listen(Engine, name, fuse.touch)
    asyncio.run(_archive(*places))


def main() -> None:
    """Answer the lines of stdin; the arguments are Redis' URL, the prefix, the archive's URL."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _archive_until_killed(int(line), sys.argv[1:])
            os._exit(0)
        _, status = os.waitpid(child, 0)
        done = {0: "done"}.get(status, "killed" if os.WIFSIGNALED(status) else "failed")
        print(done, flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    main()
