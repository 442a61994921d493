"""A ledger with entries to archive, and what its archive holds."""

from __future__ import annotations

import asyncio
from typing import Any

from sqlalchemy import select

from fallback.reasons import FallbackReason
from pricing.offers import GrantKind
from runtime.credits.endings import Release, Settlement
from runtime.credits.identity import ExecutionAttempt
from runtime.credits.ledger import CreditLedger
from runtime.credits.results import Refused, Reserved
from runtime.store.database import Database
from runtime.store.schema import accounts, entries

_CALLERS = 64
_EVERY_RELEASED = 10


async def fill(
    ledger: CreditLedger,
    account_id: str,
    executions: int,
    *,
    first: int = 0,
    cost_mc: int = 1_000,
    granted_mc: int = 10**9,
    **dimensions: str,
) -> int:
    """Open an account, and let executions run: one of ten is released, the others are settled.

    Args:
        first: the number of the first execution; run on with another one.
        dimensions: of the executions, where they are not ``retail``, ``welcome``, ``route`` ...

    Returns:
        The millicredits that were charged.
    """
    await ledger.accounts.open_account(account_id, plan="growth")
    await ledger.accounts.grant(
        account_id, amount_mc=granted_mc, kind=GrantKind.PROMOTIONAL, reference="fill"
    )
    numbers = iter(range(first, first + executions))

    async def run_some() -> int:
        charged_mc = 0
        for number in numbers:
            attempt = attempt_on(ledger, account_id, number, **dimensions)
            charged_mc += await _run(ledger, attempt, number, cost_mc)
        return charged_mc

    return sum(await asyncio.gather(*(run_some() for _ in range(_CALLERS))))


def attempt_on(
    ledger: CreditLedger, account_id: str, number: int, **dimensions: str
) -> ExecutionAttempt:
    """Return an attempt on the execution of a number."""
    fields: dict[str, Any] = {
        "workspace_id": "retail",
        "campaign_id": "welcome",
        "person_id": f"person-{number}",
        "action": "route",
        "source": "live",
        "action_version": "v1",
        "model": "writer",
    }
    return ledger.attempt(
        account_id=account_id, execution_id=f"j{number}:step:1", **(fields | dimensions)
    )


async def _run(ledger: CreditLedger, attempt: ExecutionAttempt, number: int, cost_mc: int) -> int:
    reserved = await ledger.reserve(attempt, 2 * cost_mc, 60_000, final=True)
    if isinstance(reserved, Refused):
        return 0
    assert isinstance(reserved, Reserved), reserved
    if number % _EVERY_RELEASED == _EVERY_RELEASED - 1:
        await ledger.release(
            Release(attempt, reason=FallbackReason.PROVIDER_ERROR, outcome=b"fell back")
        )
        return 0
    await ledger.settle(
        Settlement(
            attempt,
            cost_mc=cost_mc,
            reserved_mc=2 * cost_mc,
            reserved_at_ms=reserved.reserved_at_ms,
            tokens="500,,,50",
            rate_card_version="2026-04-01",
            outcome=b"answered",
        )
    )
    return cost_mc


async def archived_bodies(database: Database, account_id: str) -> list[str]:
    """Return the archived entries of an account, in their order."""
    statement = (
        select(entries.c.body)
        .join(accounts, accounts.c.no == entries.c.account)
        .where(accounts.c.account_id == account_id)
        .order_by(entries.c.seq)
    )
    async with database.connect() as connection:
        return list((await connection.execute(statement)).scalars())
