"""Looks at balances and caps while a race is run, and notes what may never be seen."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from runtime.credits.caps import Cap
from runtime.credits.ledger import CreditLedger
from runtime.credits.results import AccountDamaged, Balance, LedgerUnavailable
from tests.harness.races.course import ACCOUNT

_PARTS = ("available_mc", "reserved_mc", "charged_mc", "expired_mc", "voided_mc")
_NEVER_LESS = ("at_ms", "granted_mc", "charged_mc", "expired_mc", "voided_mc", "journal_seq")


@dataclass
class Watcher:
    """``wrong`` is what was seen and may not be, ``excess_mc`` by how much caps were exceeded."""

    ledger: CreditLedger
    looks: int = 0
    most_reserved_mc: int = 0
    wrong: list[str] = field(default_factory=list)
    excess_mc: dict[Cap, int] = field(default_factory=dict)
    _before: Balance | None = None

    async def watch(self, every_s: float) -> None:
        while True:
            try:
                await self.look()
            except AccountDamaged as damage:
                self.wrong.append(str(damage))
                raise
            except LedgerUnavailable:
                pass
            await asyncio.sleep(every_s)

    async def look(self) -> Balance:
        balance = await self.ledger.accounts.balance(ACCOUNT)
        self._check(balance)
        for status in await self.ledger.accounts.caps(ACCOUNT):
            if min(status.charged_mc, status.reserved_mc) < 0:
                self.wrong.append(f"negative: {status}")
            seen_mc = max(self.excess_mc.get(status.cap, 0), status.cap_excess_mc)
            self.excess_mc[status.cap] = seen_mc
        self.looks += 1
        self.most_reserved_mc = max(self.most_reserved_mc, balance.reserved_mc)
        self._before = balance
        return balance

    def _check(self, balance: Balance) -> None:
        if balance.charged_mc + balance.reserved_mc > balance.granted_mc:
            self.wrong.append(f"overspent: {balance}")
        if not balance.conserved:
            self.wrong.append(f"not conserved: {balance}")
        if any(getattr(of, part) < 0 for of in (balance, *balance.grants) for part in _PARTS):
            self.wrong.append(f"negative: {balance}")
        if self._before is not None:
            for name in _NEVER_LESS:
                if getattr(balance, name) < getattr(self._before, name):
                    self.wrong.append(f"{name} went back: {self._before} {balance}")
