"""A process that buys, voids, caps, switches and changes plans, as others do at the same time.

Usage: python -m tests.harness.races.operations COURSE NUMBER

Each grant begins a round. All operators make the same changes in a round, under the same
references, and give the next grant when credits have run out.
"""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta

from pricing.offers import GrantKind
from runtime.credits.ledger import CreditLedger
from runtime.credits.results import AccountDamaged, Balance, GrantRefused, LedgerUnavailable
from tests.harness.races import process
from tests.harness.races.course import ACCOUNT, AUTUMN, LARGEST_MC, TRIALS, Course

_LOOK_EVERY_S = (0.01, 0.05)
_OFF_FOR_S = 0.01
# At most so much is left when an account counts as exhausted.
_DRY_MC = 5_000
_TOO_MUCH_MC = 10**9
_REFUSED_FROM = 10**9


class Operations:
    def __init__(self, course: Course, number: int, ledger: CreditLedger) -> None:
        self._course = course
        self._number = number
        self._ledger = ledger
        self._note = course.log("operations", number).open()
        self._changed: set[int] = set()

    async def run(self) -> None:
        while True:
            try:
                await self._look()
            except AccountDamaged:
                raise
            except (LedgerUnavailable, GrantRefused):
                pass  # the next round of the loop asks for the same again
            await asyncio.sleep(random.uniform(*_LOOK_EVERY_S))

    async def _look(self) -> None:
        balance = await self._ledger.accounts.balance(ACCOUNT)
        number = len(balance.grants)
        if number not in self._changed:
            await self._change(number)
            self._changed.add(number)
        if balance.available_mc < LARGEST_MC:
            if number % 4 == 2:
                await self._run_dry(number)
            await self._top_up(number, balance)

    async def _change(self, number: int) -> None:
        """Change the account. Nobody begins a round before somebody has ended the one before."""
        ledger = self._ledger
        self._told(
            f"trials-{number}",
            await ledger.accounts.set_cap(
                ACCOUNT, TRIALS, limit_mc=5_000 * number, reference=f"trials-{number}"
            ),
        )
        reference = f"autumn-{number}"
        if number % 2:
            limit_mc = self._course.top_up_mc
            new = await ledger.accounts.set_cap(
                ACCOUNT, AUTUMN, limit_mc=limit_mc, reference=reference
            )
        else:
            new = await ledger.accounts.remove_cap(ACCOUNT, AUTUMN, reference=reference)
        self._told(reference, new)
        match number % 4:
            case 1:
                await self._downgrade_for_a_moment(number)
            case 2:
                await self._switch_off_for_a_moment(number)
            case 3:
                await self._void(number)

    async def _downgrade_for_a_moment(self, number: int) -> None:
        for plan in ("trial", "growth"):
            reference = f"{plan}-{number}"
            new = await self._ledger.accounts.change_plan(ACCOUNT, plan=plan, reference=reference)
            self._told(reference, new)
            await asyncio.sleep(_OFF_FOR_S)

    async def _switch_off_for_a_moment(self, number: int) -> None:
        for name, switch in (
            ("off", self._ledger.accounts.switch_off),
            ("on", self._ledger.accounts.switch_on),
        ):
            reference = f"{name}-{number}"
            self._told(reference, await switch(ACCOUNT, workspace_id="outlet", reference=reference))
            await asyncio.sleep(_OFF_FOR_S)

    async def _void(self, number: int) -> None:
        """Take back what is left of the grant that began the round."""
        reference = f"void-{number}"
        voided = await self._ledger.accounts.void(
            ACCOUNT, f"g{number}", reference=reference, reason="a mistake"
        )
        self._told(reference, voided.new, voided.amount_mc)

    async def _run_dry(self, number: int) -> None:
        """Wait until hardly anything is reserved, and have an execution refused for good."""
        while (await self._ledger.accounts.balance(ACCOUNT)).reserved_mc > _DRY_MC:  # noqa: ASYNC110 - Redis
            await asyncio.sleep(0.02)
        attempt = self._course.attempt(
            _REFUSED_FROM + 10 * number + self._number,
            campaign_id="welcome",
            source="live",
        )
        await self._ledger.reserve(attempt, _TOO_MUCH_MC, self._course.ttl_ms, final=True)

    async def _top_up(self, number: int, balance: Balance) -> None:
        """Give a grant: three in four, of different priorities, and two of them expire soon."""
        kind, priority, expires_in_ms = (
            (GrantKind.PURCHASED, None, None),
            (GrantKind.PROMOTIONAL, None, 1_500),
            (GrantKind.INTRODUCTORY, None, None),
            (GrantKind.PLAN, 900, 1_000),
        )[number % 4]
        expires_at = None
        if expires_in_ms is not None:
            now = datetime.fromtimestamp(balance.at_ms / 1_000, UTC)
            expires_at = now + timedelta(milliseconds=expires_in_ms)
        granted = await self._ledger.accounts.grant(
            ACCOUNT,
            amount_mc=self._course.top_up_mc,
            kind=kind,
            reference=f"top-up-{number}",
            priority=priority,
            expires_at=expires_at,
        )
        self._told(f"top-up-{number}", granted.new, granted.grant_id)

    def _told(self, reference: str, new: bool, answer: object = None) -> None:
        self._note(reference, new, answer)


async def work(course: Course, number: int, ledger: CreditLedger) -> None:
    await Operations(course, number, ledger).run()


if __name__ == "__main__":
    process.main("operations", work)
