"""Assembles the Lua files into the two scripts that run every call, and the one that erases."""

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
    "windows.lua",
    "limits.lua",
    "caps.lua",
    "marks.lua",
    "cap_marks.lua",
    "expire.lua",
    "trust.lua",
    "lag.lua",
)
_EXECUTIONS = (
    "executions.lua",
    "references.lua",
    "new_caps.lua",
    "default_caps.lua",
    "reserve.lua",
    "settle.lua",
    "release.lua",
    "conclude.lua",
)
_ACCOUNTS = (
    "executions.lua",
    "look_up.lua",
    "references.lua",
    "open_account.lua",
    "grant.lua",
    "void.lua",
    "plan.lua",
    "timezone.lua",
    "new_caps.lua",
    "cap.lua",
    "alert_marks.lua",
    "switch.lua",
    "due.lua",
    "balance.lua",
    "repair.lua",
    "rebuild.lua",
    "rebuild_finish.lua",
    "stop.lua",
    "upgrade.lua",
)
_WORD = re.compile(r"\w+")
_TOP_LEVEL = re.compile(
    r"^local (?:function (?P<function>\w+)(?P<value>\()|(?P<names>\w+(?:, \w+)*)(?P<value2> =)?)",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Scripts:
    """The script for batches of executions' calls, and the script that changes and reads accounts.

    They share everything except the verbs. Redis creates all functions of a script at each call,
    which takes 0.3 us per function, so the script that runs for every execution has no others.
    ``erasure`` shares only how records are read.
    """

    executions: Script
    accounts: Script
    erasure: Script


def assemble(clock: str | None = None) -> Scripts:
    """Join the Lua files; ``clock`` is the source that defines ``server_ms`` in tests."""
    first = shipped_clock() if clock is None else clock

    def joined(verbs: tuple[str, ...], *more_writes: str) -> Script:
        names = (*_PREAMBLE, *verbs, "write_alerts.lua", "write.lua", *more_writes, "main.lua")
        return Script.of(
            _scoped([first, *(read_lua(__package__, f"lua/{name}") for name in names)])
        )

    erasing = (
        first,
        read_lua(__package__, "lua/records.lua"),
        read_lua(__package__, "erasure.lua"),
    )
    accounts = joined(_ACCOUNTS, "write_rebuilt.lua")
    return Scripts(joined(_EXECUTIONS), accounts, Script.of("\n".join(erasing)))


def _scoped(texts: list[str]) -> str:
    """Join files so that each, except the last, runs in its own function.

    Lua finds a captured local by walking the list of all locals captured so far. With a hundred
    functions side by side, that takes longer than most verbs. Inside a function the list is short,
    and names that other files use are declared outside, where capturing one is a single step.
    """
    parts = []
    for position, text in enumerate(texts[:-1]):
        # Words, not a search for each name: this is most of what opening a ledger takes.
        later = {word for following in texts[position + 1 :] for word in _WORD.findall(following)}
        shared: list[str] = []

        def share(found: re.Match[str], later: set[str] = later, shared: list[str] = shared) -> str:
            names = (found["function"] or found["names"]).replace(" ", "").split(",")
            if later.isdisjoint(names):
                return found[0]
            shared.extend(names)
            return found[0].removeprefix("local ") if found["value"] or found["value2"] else ""

        body = _TOP_LEVEL.sub(share, text)
        declared = f"local {', '.join(shared)}\n" if shared else ""
        parts.append(f"{declared}do local function define()\n{body}\nend define() end")
    return "\n".join([*parts, texts[-1]])


@cache
def batch_scripts() -> Scripts:
    """Return the shipped scripts, which use the server's clock."""
    return assemble()
