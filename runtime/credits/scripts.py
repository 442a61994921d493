"""Assembles the Lua files into the one script that runs every batch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

CLOCK = "clock.lua"
_ORDER = (
    "records.lua",
    "state.lua",
    "reservations.lua",
    "credits.lua",
    "marks.lua",
    "expire.lua",
    "executions.lua",
    "open_account.lua",
    "grant.lua",
    "reserve.lua",
    "settle.lua",
    "release.lua",
    "conclude.lua",
    "balance.lua",
    "write.lua",
    "main.lua",
)


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the SHA-1 by which Redis knows it."""

    source: str
    sha: str


def assemble(clock: str | None = None) -> Script:
    """Join the Lua files; ``clock`` is the source that defines ``server_ms`` in tests."""
    lua = files("runtime.credits").joinpath("lua")
    parts = [clock if clock is not None else lua.joinpath(CLOCK).read_text("utf-8")]
    parts += [lua.joinpath(name).read_text("utf-8") for name in _ORDER]
    source = "\n".join(parts)
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


@cache
def batch_script() -> Script:
    """The shipped script, whose clock is the server's alone."""
    return assemble()
