"""Reads what is switched off of many accounts, with next to no work for Redis where nothing is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runtime.credits.accounts import Accounts
from runtime.credits.results import LedgerError, LedgerUnavailable
from runtime.credits.script_client import plain_commands
from runtime.redis.keys import Keys
from runtime.redis.primaries import Client, primary_of

MOST_AT_ONCE = 500
"""The accounts of one pipeline: so many take the event loop a few milliseconds."""

_NOTHING: frozenset[str] = frozenset()
# The profile's fields, as state.lua has them; its version comes first, and the switches last.
_PROFILE_FIELDS = 9


class SwitchReader:
    """Reads switches, as of an instant after the call began.

    Args:
        accounts: reads the switches of an account that has some.
    """

    def __init__(self, client: Client, keys: Keys, accounts: Accounts, timeout_ms: int) -> None:
        self._client: Any = client  # redis-py types answers by what its settings could make of them
        self._of_servers = client
        self._keys = keys
        self._accounts = accounts
        self._timeout_s = timeout_ms / 1000

    def server_of(self, account_id: str) -> str:
        """Return the name of the account's server; accounts of one server are read together."""
        return primary_of(self._of_servers, account_id)

    async def read(self, account_ids: Sequence[str]) -> Mapping[str, frozenset[str]]:
        """Return what is off in each of these accounts, which share a server.

        An account that can't be read is missing.

        Raises:
            LedgerUnavailable: none can be read.
        """
        off: dict[str, frozenset[str]] = {}
        for account_id, profile in zip(account_ids, await self._profiles(account_ids), strict=True):
            number = _switches_in(profile)
            if number == 0:
                off[account_id] = _NOTHING
            elif number is not None:
                try:
                    switches = await self._accounts.switches(account_id)
                except LedgerUnavailable:
                    raise
                except LedgerError:
                    continue
                off[account_id] = frozenset(switch.target for switch in switches)
        return off

    async def _profiles(self, account_ids: Sequence[str]) -> list[Any]:
        names = [self._keys.part(account_id, "account") for account_id in account_ids]
        async with plain_commands(self._timeout_s):
            if len(names) == 1:
                return [await self._client.hget(names[0], "profile")]
            pipeline = self._client.pipeline(transaction=False)
            for name in names:
                pipeline.hget(name, "profile")
            found: list[Any] = await pipeline.execute(raise_on_error=False)
            return found


def _switches_in(profile: object) -> int | None:
    """Return how many switches are off by an account's profile; ``None`` if it can't be read."""
    text = profile.decode(errors="replace") if isinstance(profile, bytes) else profile
    if not isinstance(text, str):
        return None
    fields = text.split("\t")
    is_sound = len(fields) == _PROFILE_FIELDS and fields[0] == "1" and fields[-1].isdecimal()
    return int(fields[-1]) if is_sound else None
