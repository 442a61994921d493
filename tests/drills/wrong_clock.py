"""The clock of the Redis server is set forward and back under load."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta

from pricing.offers import GrantKind
from tests.drills.books import Findings, check
from tests.drills.drill import Drill, Round
from tests.drills.journals import ledger_of, open_accounts
from tests.drills.plan import Plan
from tests.drills.preloaded import PreloadedServer, missing
from tests.drills.workers import Workers

_LONGEST_PAUSE_S = 1.0
_SECOND_MS = 1_000
_DAY_MS = 24 * 3_600_000
_SHIFTS_MS = (
    # Within the minute that is borne, and beyond it.
    20 * _SECOND_MS,
    -20 * _SECOND_MS,
    600 * _SECOND_MS,
    -600 * _SECOND_MS,
    _DAY_MS,
    -_DAY_MS,
)


async def _run(this: Round) -> Findings:
    chance = random.Random(this.seed)
    server = PreloadedServer(this.folder / "redis")
    server.start()
    try:
        plan = Plan(str(this.folder), server.url, 3)
        await open_accounts(plan)
        await _grant_until_tonight(plan)
        shifts = Shifts(chance)
        with Workers(plan) as workers:
            workers.wait_until_executing()
            for _ in range(this.strikes):
                time.sleep(chance.random() * _LONGEST_PAUSE_S)
                server.set_clock(shifts.next_ms())
                time.sleep(0.5 + chance.random() * _LONGEST_PAUSE_S)
                server.set_clock(0)
                workers.wait_until_going_on()
            workers.end()
            found = await check(plan)
        found.counts["clock set forward"] = shifts.forward
        found.counts["clock set back"] = this.strikes - shifts.forward
        async with ledger_of(plan) as ledger:
            for account in plan.accounts:
                balance = await ledger.accounts.balance(account)
                found.check(
                    not balance.expired_mc, f"{account}: {balance.expired_mc} expired too early"
                )
        return found
    finally:
        server.stop()


class Shifts:
    """Draws shifts of the clock: in a random order, each once before one comes again."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._left: list[int] = []
        self.forward = 0

    def next_ms(self) -> int:
        if not self._left:
            self._left = self._chance.sample(_SHIFTS_MS, len(_SHIFTS_MS))
        shift_ms = self._left.pop()
        self.forward += shift_ms > 0
        return shift_ms


async def _grant_until_tonight(plan: Plan) -> None:
    """Grant what expires in hours: not when a clock says for a second that it is tomorrow."""
    async with ledger_of(plan) as ledger:
        for account in plan.accounts:
            await ledger.accounts.grant(
                account,
                amount_mc=1_000_000_000,
                kind=GrantKind.PROMOTIONAL,
                reference="tonight",
                expires_at=datetime.now(UTC) + timedelta(hours=6),
            )


WRONG_CLOCK = Drill(
    "wrong-clock",
    "the Redis server's clock is set forward and back by 20 seconds, 10 minutes and a day",
    strikes=20,
    each=10,
    run=_run,
    needs=missing,
)
