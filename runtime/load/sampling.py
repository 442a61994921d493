"""Measures, while a load runs: the accounts' credits, and CPU and memory of Redis and processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from redis.exceptions import RedisError

from runtime.credits.accounts import Accounts
from runtime.credits.results import Balance, LedgerError
from runtime.load.processes import Usage, usage_of
from runtime.redis.errors import RedisUnavailable
from runtime.redis.primaries import Client, primaries

EVERY_S = 1.0
_ACCOUNTS_A_SECOND = 200
_ASKED_TOGETHER = 50


@dataclass(frozen=True, slots=True)
class Credits:
    """The parts of all accounts' balances together, in millicredits, and accounts that have none.

    ``empty`` accounts have no available credits left, and nothing reserved.
    """

    granted_mc: int = 0
    available_mc: int = 0
    reserved_mc: int = 0
    charged_mc: int = 0
    empty: int = 0

    @classmethod
    def of(cls, balances: Sequence[Balance], nearly_none_mc: int) -> Credits:
        """Return the sums of these balances."""
        return cls(
            granted_mc=sum(one.granted_mc for one in balances),
            available_mc=sum(one.available_mc for one in balances),
            reserved_mc=sum(one.reserved_mc for one in balances),
            charged_mc=sum(one.charged_mc for one in balances),
            empty=sum(one.available_mc + one.reserved_mc <= nearly_none_mc for one in balances),
        )

    def to_json(self) -> dict[str, int]:
        """Return the sums by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Sample:
    """A measurement. CPU is in seconds since the start of what uses it; ``None`` is not known."""

    at_s: float
    credits: Credits | None = None
    redis_cpu_s: float | None = None
    redis_memory_bytes: int | None = None
    cpu_s: Mapping[str, float] = field(default_factory=dict)
    memory_bytes: Mapping[str, int] = field(default_factory=dict)


class Sampler:
    """Measures every second, until it is cancelled.

    With many accounts, their balances are read less often: 200 accounts a second.

    Args:
        pids: process ids by the name that the report has for them.
        usages: ask what others use, likewise.
        on_balances: called with the balances, as often as they are read.
    """

    def __init__(
        self,
        client: Client,
        accounts: Accounts,
        account_ids: Sequence[str],
        pids: Mapping[str, Sequence[int]],
        usages: Mapping[str, Callable[[], Awaitable[Usage | None]]],
        on_balances: Callable[[list[Balance]], None],
        nearly_none_mc: int,
    ) -> None:
        self.samples: list[Sample] = []
        self._client = client
        self._accounts = accounts
        self._account_ids = account_ids
        self._pids = pids
        self._usages = usages
        self._on_balances = on_balances
        self._nearly_none_mc = nearly_none_mc
        self._balances_every_s = max(EVERY_S, len(account_ids) / _ACCOUNTS_A_SECOND)
        self._balances_at_s = 0.0

    @property
    def latest(self) -> Sample:
        """The last measurement, with the credits of the last one that has them."""
        found = self.samples[-1] if self.samples else Sample(0.0)
        known = next((one.credits for one in reversed(self.samples) if one.credits), None)
        return replace(found, credits=known)

    async def run(self, begin_s: float) -> None:
        """Measure every second from an instant on."""
        number = 0
        while True:
            await asyncio.sleep(max(0.0, begin_s + number * EVERY_S - time.time()))
            await self.measure(begin_s)
            number = max(number + 1, int((time.time() - begin_s) / EVERY_S))

    async def measure(self, begin_s: float) -> Sample:
        """Measure now."""
        at_s = time.time() - begin_s
        found = None
        if at_s >= self._balances_at_s:
            self._balances_at_s = at_s + self._balances_every_s - EVERY_S / 2
            found = await self._credits()
        redis_cpu_s, redis_memory_bytes = await self._redis()
        cpu_s: dict[str, float] = {}
        memory_bytes: dict[str, int] = {}
        for name, pids in self._pids.items():
            usages = [usage for pid in pids if (usage := usage_of(pid)) is not None]
            if usages:
                cpu_s[name] = sum(usage.cpu_s for usage in usages)
                memory_bytes[name] = sum(usage.memory_bytes for usage in usages)
        for name, ask in self._usages.items():
            if (usage := await ask()) is not None:
                cpu_s[name], memory_bytes[name] = usage
        sample = Sample(at_s, found, redis_cpu_s, redis_memory_bytes, cpu_s, memory_bytes)
        self.samples.append(sample)
        return sample

    async def balances(self) -> list[Balance]:
        """Return the balances of all accounts.

        Raises:
            LedgerError: one can't be read.
        """
        balances: list[Balance] = []
        for first in range(0, len(self._account_ids), _ASKED_TOGETHER):
            some = self._account_ids[first : first + _ASKED_TOGETHER]
            balances += await asyncio.gather(*map(self._accounts.balance, some))
        return balances

    async def _credits(self) -> Credits | None:
        try:
            balances = await self.balances()
        except LedgerError:
            return None
        self._on_balances(balances)
        return Credits.of(balances, self._nearly_none_mc)

    async def _redis(self) -> tuple[float | None, int | None]:
        cpu_s, memory_bytes = 0.0, 0
        try:
            for primary in await primaries(self._client):
                cpu, memory = await primary.info("cpu"), await primary.info("memory")
                cpu_s += float(cpu["used_cpu_sys"]) + float(cpu["used_cpu_user"])
                memory_bytes += int(memory["used_memory"])
        except (RedisError, RedisUnavailable, OSError, KeyError, ValueError):
            return None, None
        return cpu_s, memory_bytes
