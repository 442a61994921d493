"""Gives the load's accounts their credits, at the start and as they run low."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pricing.offers import GrantKind
from runtime.background import TaskSet
from runtime.credits.accounts import Accounts
from runtime.credits.results import Balance, LedgerError
from runtime.load.settings import LoadRefused

_LOW_SHARE = 0.2
_ASKED_TOGETHER = 50
_ACTOR = "creditgate load"


class Funding:
    """Opens accounts that were never there before, and tops them up.

    Args:
        first_mc: what each account begins with, in the order of the ids.
        opened: gets each account once it is opened.
        tops_up: give an account as much again when a fifth of that is left.
    """

    def __init__(
        self,
        accounts: Accounts,
        account_ids: Sequence[str],
        first_mc: Sequence[int],
        plan: str,
        opened: list[str],
        *,
        tops_up: bool,
    ) -> None:
        self._accounts = accounts
        self._first_mc = dict(zip(account_ids, first_mc, strict=True))
        self._plan = plan
        self._opened = opened
        self._tops_up = tops_up
        self._topping: set[str] = set()
        self._tasks = TaskSet()
        self.top_ups = 0

    async def open(self) -> None:
        """Open all accounts, each with its first grant.

        Raises:
            LoadRefused: an account of this id is there already.
            LedgerError: an account can't be opened.
        """
        account_ids = list(self._first_mc)
        for first in range(0, len(account_ids), _ASKED_TOGETHER):
            some = account_ids[first : first + _ASKED_TOGETHER]
            await asyncio.gather(*map(self._open, some))

    async def _open(self, account_id: str) -> None:
        if not await self._accounts.open_account(account_id, plan=self._plan, actor=_ACTOR):
            raise LoadRefused(f"account {account_id!r} is there already, and may not be the load's")
        self._opened.append(account_id)
        await self._grant(account_id, "first")

    def top_up(self, balances: Sequence[Balance]) -> None:
        """Give those that run low as much as they began with, in the background."""
        if not self._tops_up:
            return
        for balance in balances:
            account_id = balance.account_id
            is_low = balance.available_mc < _LOW_SHARE * self._first_mc[account_id]
            if is_low and account_id not in self._topping:
                self._topping.add(account_id)
                self._tasks.start(self._top_up(account_id))

    async def aclose(self) -> None:
        """Wait for grants that are on their way."""
        await self._tasks.drain()

    async def _top_up(self, account_id: str) -> None:
        self.top_ups += 1
        try:
            await self._grant(account_id, f"top-up {self.top_ups}")
        except LedgerError:
            self.top_ups -= 1
        finally:
            self._topping.discard(account_id)

    async def _grant(self, account_id: str, reference: str) -> None:
        await self._accounts.grant(
            account_id,
            amount_mc=self._first_mc[account_id],
            kind=GrantKind.PROMOTIONAL,
            reference=f"load {reference}",
            actor=_ACTOR,
        )
