"""Publishes a draft when it is told to: ``python -m ... URL REDIS PREFIX FOLDER ETAG``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from runtime.library.errors import ActionChanged
from runtime.store.database import database_url
from tests.harness.library import ACTION, open_desk
from tests.harness.workbench import ACCOUNT


async def main(url: str, redis_url: str, key_prefix: str, folder: str, etag: str) -> None:
    """Say ``ready``, wait for a line, publish, and say what came of it."""
    plain = url.replace("+aiosqlite", "").replace("+asyncpg", "")
    async with open_desk(database_url(plain), redis_url, key_prefix, Path(folder)) as desk:
        await desk.library.find(ACCOUNT, ACTION)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)
        try:
            await desk.library.publish(ACCOUNT, ACTION, etag=etag, note="", by="test")
        except ActionChanged as error:
            sys.stdout.write(f"{type(error).__name__}\n")
        else:
            sys.stdout.write("published\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
