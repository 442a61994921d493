"""Assembles the Lua files into the two scripts that run every call."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

CLOCK = "clock.lua"
_PREAMBLE = (
    "records.lua",
    "state.lua",
    "grants.lua",
    "journal.lua",
    "reservations.lua",
    "credits.lua",
    "limits.lua",
    "caps.lua",
    "marks.lua",
    "expire.lua",
)
_EXECUTIONS = ("executions.lua", "reserve.lua", "settle.lua", "release.lua", "conclude.lua")
_ACCOUNTS = (
    "references.lua",
    "open_account.lua",
    "grant.lua",
    "void.lua",
    "plan.lua",
    "cap.lua",
    "switch.lua",
    "balance.lua",
)
_END = ("write.lua", "main.lua")


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the SHA-1 by which Redis knows it."""

    source: str
    sha: str


@dataclass(frozen=True, slots=True)
class Scripts:
    """What runs executions' calls, in batches, and what changes or reads accounts.

    They share everything but the verbs. A script makes all of its functions anew at each call,
    which takes Redis 0.3 us a function: those that run for every execution have no others.
    """

    executions: Script
    accounts: Script


def assemble(clock: str | None = None) -> Scripts:
    """Join the Lua files; ``clock`` is the source that defines ``server_ms`` in tests."""
    lua = files("runtime.credits").joinpath("lua")
    first = clock if clock is not None else lua.joinpath(CLOCK).read_text("utf-8")

    def joined(verbs: tuple[str, ...]) -> Script:
        names = (*_PREAMBLE, *verbs, *_END)
        source = "\n".join([first, *(lua.joinpath(name).read_text("utf-8") for name in names)])
        sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
        return Script(source, sha)

    return Scripts(joined(_EXECUTIONS), joined(_ACCOUNTS))


@cache
def batch_scripts() -> Scripts:
    """The shipped scripts, whose clock is the server's alone."""
    return assemble()
