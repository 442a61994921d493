"""Watches the servers' clocks and memory, and stops reservations and sweeps where they are unsafe.

A server that may evict keys may forget what was charged, so nothing new is reserved there.
Deadlines follow the servers' clocks. If a process's clock and a server's are far apart, the process
can't tell which one is wrong, so it neither reserves nor sweeps there. A server that is nearly full
must still take settlements, so the rest of its memory is kept for them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any

from redis.exceptions import ResponseError

from runtime.background import Periodic
from runtime.credits.clock import MOST_APART_MS, own_clock_ms
from runtime.credits.durability import eviction_fault, tell_hidden
from runtime.credits.results import LedgerUnavailable
from runtime.credits.schema import NEWEST, schema_of
from runtime.credits.script_client import plain_commands
from runtime.redis.primaries import Client, Primary, primaries, primary_of, primary_of_key

_log = logging.getLogger("creditgate.ledger")

MOST_MEMORY_PERCENT = 90
MEMORY_EVERY_S = 5.0
CLOCK_EVERY_S = 30.0


class Watch:
    """A watch over the servers. ``faults`` maps each faulty server to what is wrong with it.

    ``schema`` is the installation's, as it was last seen: new accounts begin with it.

    Args:
        clock_ms: this process's clock.
        assumed: what the operator vouches for where a server does not tell it.
    """

    def __init__(
        self,
        client: Client,
        timeout_ms: int,
        clock_ms: Callable[[], int] = own_clock_ms,
        assumed: Collection[str] = (),
    ) -> None:
        self.faults: dict[str, str] = {}
        self.schema = NEWEST
        self._installation: tuple[str, str] | None = None
        self._emptied: dict[str, str] = {}
        self._client = client
        self._timeout_s = timeout_ms / 1000
        self._clock_ms = clock_ms
        self._assumed = assumed
        self._clocks: dict[str, str] = {}
        self._memory: dict[str, str] = {}
        self._evictions: dict[str, str] = {}
        self._clocks_at_ms: dict[str, int] = {}
        self._hides_memory: set[str] = set()
        self._all = (self._memory, self._evictions, self._clocks, self._emptied)
        self._rounds: Periodic | None = None

    def check_reserve(self, account_id: str) -> None:
        """Raise ``LedgerUnavailable`` if the account's server must take no reservations."""
        if fault := self.faults.get(primary_of(self._client, account_id)):
            raise LedgerUnavailable(fault)

    def expect_installation(self, key: str, key_check: str) -> None:
        """Tell which hash has the installation's check value, and which one it is, from now on."""
        self._installation = key, key_check

    def check_clock(self, account_id: str) -> None:
        """Raise ``LedgerUnavailable`` if the clock of the account's server can't be trusted."""
        if fault := self._clocks.get(primary_of(self._client, account_id)):
            raise LedgerUnavailable(fault)

    def check_sweep(self, primary: Primary) -> None:
        """Raise ``LedgerUnavailable`` if this server must not be swept."""
        if fault := self._clocks.get(str(primary)):
            raise LedgerUnavailable(fault)

    async def look(self) -> None:
        """Read every server's memory, and its clock if that is due.

        Raises:
            LedgerUnavailable: a server can't be reached; its known state stays.
        """
        async with plain_commands(self._timeout_s):
            found = await primaries(self._client)
        away = None
        for primary in found:
            try:
                async with plain_commands(self._timeout_s):
                    await self._look_at(primary)
            except LedgerUnavailable as exc:
                away = exc
        try:
            async with plain_commands(self._timeout_s):
                await self._look_at_installation()
        except LedgerUnavailable as exc:
            away = exc
        self._forget_all_but({str(primary) for primary in found})
        if away is not None:
            raise away

    def start(self) -> None:
        """Look every few seconds until ``aclose``."""
        self._rounds = Periodic("the watch", self._look_quietly, MEMORY_EVERY_S)
        self._rounds.start(after_s=MEMORY_EVERY_S)

    async def aclose(self) -> None:
        """Stop looking."""
        if self._rounds is not None:
            await self._rounds.aclose()

    async def _look_quietly(self) -> None:
        try:
            await self.look()
        except LedgerUnavailable as exc:
            _log.debug("the watch: %s", exc)  # a call that needs the server will say so

    async def _look_at(self, primary: Primary) -> None:
        name, now_ms = str(primary), self._clock_ms()
        read_at_ms = self._clocks_at_ms.get(name)
        # Timed by the compared clock itself: if somebody sets it, it is compared again at once.
        if read_at_ms is None or abs(now_ms - read_at_ms) >= CLOCK_EVERY_S * 1000:
            self._note(self._clocks, name, await self._clock_fault(primary))
            self._clocks_at_ms[name] = now_ms
        told = await self._told_of_memory(primary)
        self._note(self._memory, name, self._memory_fault(primary, told))
        self._note(self._evictions, name, eviction_fault(primary, told))

    async def _look_at_installation(self) -> None:
        if self._installation is None:
            return
        key, expected = self._installation
        client: Any = self._client  # redis-py types answers by what its settings could make of them
        found, schema = await client.hmget(key, ["key_check", "schema"])
        name = primary_of_key(self._client, key)
        text = found.decode(errors="replace") if isinstance(found, bytes) else found
        fault = ""
        if text != expected:
            state = "came back without its data" if text is None else "has another's data"
            fault = (
                f"{name} {state} ({key}): nothing is reserved until the data is restored, or this "
                "process is started again"
            )
        self._note(self._emptied, name, fault)
        if not fault:
            self._note_schema(schema)

    def _note_schema(self, stored: bytes | str | None) -> None:
        """Note that a migration was finished. What a newer release has set is no concern here."""
        try:
            schema = schema_of(stored)
        except ValueError:
            return
        self.schema = max(self.schema, min(schema, NEWEST))

    async def _clock_fault(self, primary: Primary) -> str:
        before_ms = self._clock_ms()
        server_ms = await primary.time_ms()
        ahead_ms = server_ms - (before_ms + self._clock_ms()) // 2
        if abs(ahead_ms) <= MOST_APART_MS:
            return ""
        side = "ahead of" if ahead_ms > 0 else "behind"
        return (
            f"the clock of {primary} is {abs(ahead_ms) / 1000:.1f} s {side} this process's: above "
            f"{MOST_APART_MS // 1000} s nothing is reserved, booked or swept"
        )

    async def _told_of_memory(self, primary: Primary) -> Mapping[str, Any]:
        try:
            return await primary.info("memory")
        except ResponseError:  # managed services may forbid it
            return {}

    def _memory_fault(self, primary: Primary, told: Mapping[str, Any]) -> str:
        try:
            used, most = int(told["used_memory"]), int(told["maxmemory"])
        except KeyError:
            if str(primary) not in self._hides_memory:
                self._hides_memory.add(str(primary))
                needed = f"it must stay below {MOST_MEMORY_PERCENT}%"
                tell_hidden(primary, "how full it is", needed, "memory", self._assumed)
            return ""
        if not most or used * 100 <= most * MOST_MEMORY_PERCENT:
            return ""
        return (
            f"the memory of {primary} is full to {used * 100 // most}% of maxmemory: above "
            f"{MOST_MEMORY_PERCENT}% nothing is reserved, and settlements go on"
        )

    def _note(self, faults: dict[str, str], name: str, fault: str) -> None:
        before = faults.pop(name, "")
        if fault:
            faults[name] = fault
        if fault and not before:
            _log.error("%s", fault)
        elif before and not fault:
            _log.warning("no longer so: %s", before)
        self._join()

    def _forget_all_but(self, names: set[str]) -> None:
        for known in (*self._all, self._clocks_at_ms):
            for name in known.keys() - names:
                del known[name]
        self._join()

    def _join(self) -> None:
        self.faults = {name: fault for known in self._all for name, fault in known.items()}
