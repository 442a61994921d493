"""Law 2c: whatever an account lives through replays to its balance, and can be made again."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL

from pricing.offers import GrantKind
from runtime.archive.audit import Auditor
from runtime.archive.rebuild import Rebuilder
from runtime.credits.caps import Cap
from runtime.credits.endings import Release
from runtime.credits.ledger import CreditLedger
from runtime.credits.results import GrantRefused, LedgerError, Reserved
from runtime.store.database import Database
from tests.harness.archiving import KINDS, archive, url_of
from tests.harness.ledger.desk import ACCOUNT, Desk

DAY_MS = 24 * 3_600_000
STEPS = 120
CAPS = (Cap("day"), Cap("month", source="live"), Cap("total", workspace_id="bank"))


@pytest.fixture(params=KINDS)
def archive_url(request: pytest.FixtureRequest, tmp_path: Path) -> URL:
    """The URL of an empty database; PostgreSQL's turn is in the long tests."""
    return url_of(request, tmp_path)


class Life:
    """An account's random life; the same seed gives the same one."""

    def __init__(self, desk: Desk, seed: int) -> None:
        self.desk = desk
        self.dice = random.Random(seed)
        self.number = 0
        self.running: list[Any] = []

    def name(self) -> str:
        self.number += 1
        return f"n{self.number}"

    async def live(self) -> None:
        await self.desk.open(self.dice.randint(0, 1_000))
        steps: list[Callable[[], Awaitable[object]]] = [
            *(self.reserve for _ in range(8)),
            *(self.settle for _ in range(6)),
            self.release,
            self.grant,
            self.grant,
            self.void,
            self.pass_time,
            self.pass_time,
            self.set_cap,
            self.remove_cap,
            self.switch,
            self.change_plan,
            self.change_timezone,
            self.accept_loss,
            self.forget,
        ]
        for _ in range(STEPS):
            # A reservation in the very millisecond of a cap may have been made before it.
            await self.desk.pass_time(1)
            try:
                await self.dice.choice(steps)()
            except (LedgerError, GrantRefused):
                continue
        while self.running:
            await self.settle()
        # The next day: what would wait for its time is over.
        await self.desk.pass_time(2 * DAY_MS)
        await self.desk.write_what_is_due()

    async def reserve(self) -> None:
        workspace = self.dice.choice(("retail", "bank"))
        attempt = self.desk.attempt(self.name(), workspace_id=workspace)
        amount_mc = self.dice.choice((0, 1, 40, 200))
        final = self.dice.random() < 0.3
        ttl_ms = self.dice.choice((10, 1_000, DAY_MS))
        answer = await self.desk.ledger.reserve(attempt, amount_mc, ttl_ms, final=final)
        if isinstance(answer, Reserved):
            self.running.append((attempt, answer))

    async def settle(self) -> None:
        if self.running:
            attempt, reserved = self.running.pop(self.dice.randrange(len(self.running)))
            cost_mc = self.dice.choice((0, reserved.amount_mc, reserved.amount_mc // 2, 300))
            extra = {"free_mc": 5} if cost_mc == 0 else {}
            extra["exposure_mc"] = self.dice.choice((0, 3))
            await self.desk.settle(attempt, reserved, cost_mc, **extra)

    async def release(self) -> None:
        if self.running:
            attempt, _ = self.running.pop()
            await self.desk.ledger.release(Release(attempt, exposure_mc=self.dice.choice((0, 9))))

    async def grant(self) -> None:
        expires_in_ms = self.dice.choice((None, None, 1, 1_000, DAY_MS))
        kind = self.dice.choice(list(GrantKind))
        await self.desk.grant(
            self.dice.randint(1, 500), expires_in_ms=expires_in_ms, kind=kind, reference=self.name()
        )

    async def void(self) -> None:
        grant_id = f"g{self.dice.randint(1, 6)}"
        await self.desk.ledger.accounts.void(
            ACCOUNT, grant_id, reference=self.name(), reason="a; reason"
        )

    async def pass_time(self) -> None:
        await self.desk.pass_time(self.dice.choice((1, 500, 2_000, DAY_MS // 3)))

    async def set_cap(self) -> None:
        cap, limit_mc = self.dice.choice(CAPS), self.dice.randint(100, 2_000)
        used_mc = self.dice.choice((0, 7))
        await self.desk.ledger.accounts.set_cap(
            ACCOUNT, cap, limit_mc=limit_mc, used_mc=used_mc, reference=self.name()
        )

    async def remove_cap(self) -> None:
        cap = self.dice.choice(CAPS)
        await self.desk.ledger.accounts.remove_cap(ACCOUNT, cap, reference=self.name())

    async def switch(self) -> None:
        accounts = self.desk.ledger.accounts
        change = self.dice.choice((accounts.switch_on, accounts.switch_on, accounts.switch_off))
        await change(ACCOUNT, reference=self.name(), workspace_id="bank")

    async def change_plan(self) -> None:
        plan = self.dice.choice(("growth", "growth", "trial"))
        await self.desk.ledger.accounts.change_plan(ACCOUNT, plan=plan, reference=self.name())

    async def change_timezone(self) -> None:
        await self.desk.pass_time(2 * DAY_MS)
        zone = self.dice.choice(("UTC", "Europe/Paris", "America/Los_Angeles"))
        await self.desk.ledger.accounts.change_timezone(
            ACCOUNT, timezone=zone, reference=self.name()
        )

    async def accept_loss(self) -> None:
        await self.desk.ledger.repairs.accept_loss(ACCOUNT, reason="a; reason", actor="ann")

    async def forget(self) -> None:
        erasure = self.desk.ledger.erasure
        begun = await erasure.begin(ACCOUNT, "ada", self.name())
        await erasure.finish(begun, reason="a; reason", actor="ann")


async def state_of(ledger: CreditLedger) -> dict[str, Any]:
    """All that can be asked of an account, but for what a rebuild adds."""
    balance = await ledger.accounts.balance(ACCOUNT)
    fields = {name: getattr(balance, name) for name in type(balance).__slots__}
    del fields["journal_seq"], fields["at_ms"]
    caps = await ledger.accounts.caps(ACCOUNT)
    return fields | {"caps": {cap.cap: (cap.limit_mc, cap.charged_mc) for cap in caps}}


@pytest.mark.parametrize(
    "seed", [*range(2), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 16))]
)
async def test_law_2c_a_random_life_replays_to_its_balance_and_comes_back_after_a_loss(
    desk: Desk, database: Database, seed: int
) -> None:
    await Life(desk, seed).live()
    fresh = desk.another_ledger(clock_ms=lambda: desk.now_ms)
    found = await Auditor(fresh.inspection, None).audit([ACCOUNT])
    assert found.balances, found
    before = await state_of(fresh)
    refs = await desk.client.hgetall(desk.key("refs"))
    await archive(desk, database)
    outcomes = {name for name in await desk.names("*:o:*") if await is_to_come_back(desk, name)}
    await desk.client.delete(*await desk.names())

    rebuilder = Rebuilder(fresh, database, lambda: desk.now_ms)
    await rebuilder.rebuild(ACCOUNT, reason="a loss", actor="ann")

    assert await state_of(desk.another_ledger(clock_ms=lambda: desk.now_ms)) == before
    rebuilt = await desk.client.hgetall(desk.key("refs"))
    assert {name: rebuilt[name] for name in refs} == refs
    assert outcomes <= set(await desk.names("*:o:*"))
    other = desk.another_ledger(clock_ms=lambda: desk.now_ms)
    found = await Auditor(other.inspection, database).audit([ACCOUNT])
    assert found.balances, found


async def is_to_come_back(desk: Desk, name: bytes) -> bool:
    """Return whether an outcome is a settlement that is still kept by the desk's clock."""
    gone_at_ms = await desk.client.pttl(name) + await desk.server_ms()
    settled = (await desk.client.get(name)).startswith(b"1\ts")
    return bool(settled) and gone_at_ms > desk.now_ms
