"""Lua scripts: reading them from a package, and running them through redis-py."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.exceptions import NoScriptError


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the SHA-1 by which Redis knows it."""

    source: str
    sha: str

    @classmethod
    def of(cls, source: str) -> Script:
        """Return the script with this source."""
        return cls(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())

    async def run(
        self, client: Redis | RedisCluster, keys: Sequence[str], arguments: Sequence[str | int]
    ) -> Any:
        """Run the script by its SHA-1, or by its source if the server does not know it yet.

        redis-py's ``register_script`` would load an unknown script into every primary of a
        cluster, and fail while any of them is away, even one without the keys.

        Raises:
            RedisError, OSError: as redis-py raises them.
        """
        asked: Any = client  # redis-py types answers by what its settings could make of them
        try:
            return await asked.evalsha(self.sha, len(keys), *keys, *arguments)
        except NoScriptError:
            return await asked.eval(self.source, len(keys), *keys, *arguments)


def read_lua(package: str, name: str) -> str:
    """Return the text of a Lua file.

    Args:
        package: the ``__package__`` of the caller; its name written out would break where the
            packages are installed under another one.
        name: the file's path below the package, such as ``lua/reserve.lua``.
    """
    return files(package).joinpath(*name.split("/")).read_text("utf-8")


@cache
def shipped_clock() -> str:
    """Return the Lua that defines ``server_ms``; scripts that read the clock begin with it."""
    return read_lua(__package__, "clock.lua")
