"""Assembles the Lua files into the two scripts that run every call."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from runtime.redis.script import Script, read_lua, shipped_clock

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
    "executions.lua",
    "look_up.lua",
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
_TOP_LEVEL = re.compile(
    r"^local (?:function (?P<function>\w+)(?P<value>\()|(?P<names>\w+(?:, \w+)*)(?P<value2> =)?)",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Scripts:
    """The script of executions' calls, in batches, and the one that changes and reads accounts.

    They share everything but the verbs. A script makes all of its functions anew at each call,
    which takes Redis 0.3 us a function: those that run for every execution have no others.
    """

    executions: Script
    accounts: Script


def assemble(clock: str | None = None) -> Scripts:
    """Join the Lua files; ``clock`` is the source that defines ``server_ms`` in tests."""
    first = shipped_clock() if clock is None else clock

    def joined(verbs: tuple[str, ...]) -> Script:
        names = (*_PREAMBLE, *verbs, *_END)
        return Script.of(
            _scoped([first, *(read_lua(__package__, f"lua/{name}") for name in names)])
        )

    return Scripts(joined(_EXECUTIONS), joined(_ACCOUNTS))


def _scoped(texts: list[str]) -> str:
    """Join files so that each runs in a function of its own, but for the last.

    Lua finds a captured local by walking the list of all that are captured so far: with a hundred
    functions beside each other that takes longer than most verbs do. Within a function the list is
    short, and what other files use is declared outside, where capturing it is one step.
    """
    parts = []
    for position, text in enumerate(texts[:-1]):
        later = "\n".join(texts[position + 1 :])
        shared: list[str] = []

        def share(found: re.Match[str], later: str = later, shared: list[str] = shared) -> str:
            names = (found["function"] or found["names"]).replace(" ", "").split(",")
            if not any(re.search(rf"\b{name}\b", later) for name in names):
                return found[0]
            shared.extend(names)
            return found[0].removeprefix("local ") if found["value"] or found["value2"] else ""

        body = _TOP_LEVEL.sub(share, text)
        declared = f"local {', '.join(shared)}\n" if shared else ""
        parts.append(f"{declared}do local function define()\n{body}\nend define() end")
    return "\n".join([*parts, texts[-1]])


@cache
def batch_scripts() -> Scripts:
    """Return the shipped scripts, whose clock is the server's alone."""
    return assemble()
