"""Every verb of the ledger by name, for promises that all of them keep."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fallback.reasons import FallbackReason
from pricing.offers import GrantKind
from runtime.credits.caps import Cap, CapWindow
from runtime.credits.endings import Release
from runtime.credits.identity import ExecutionAttempt
from runtime.credits.results import Reserved
from tests.harness.ledger.desk import ACCOUNT, Desk

# What lived_in() has: a cap on all charges of a day, and one that a change may remove.
CAP = Cap(CapWindow.DAY)
OTHER_CAP = Cap(CapWindow.MONTH, workspace_id="retail")

Change = Callable[[Desk, str], Awaitable[Any]]

# Each changes the account of lived_in() under the reference that it is told.
CHANGES: dict[str, Change] = {
    "grant": lambda desk, ref: desk.grant(100, reference=ref),
    "purchase": lambda desk, ref: desk.ledger.accounts.purchase(
        ACCOUNT, credits=100_000, payment_reference=ref
    ),
    "adjustment": lambda desk, ref: desk.grant(
        5, kind=GrantKind.ADJUSTMENT, reference=ref, execution_id="journey-7:step:1"
    ),
    "void": lambda desk, ref: desk.ledger.accounts.void(
        ACCOUNT, "g2", reference=ref, reason="paid back"
    ),
    "change_plan": lambda desk, ref: desk.ledger.accounts.change_plan(
        ACCOUNT, plan="trial", reference=ref
    ),
    "change_timezone": lambda desk, ref: desk.ledger.accounts.change_timezone(
        ACCOUNT, timezone="Asia/Kathmandu", reference=ref
    ),
    "set_cap": lambda desk, ref: desk.ledger.accounts.set_cap(
        ACCOUNT, CAP, limit_mc=700, reference=ref
    ),
    "remove_cap": lambda desk, ref: desk.ledger.accounts.remove_cap(
        ACCOUNT, OTHER_CAP, reference=ref
    ),
    "switch_off": lambda desk, ref: desk.ledger.accounts.switch_off(
        ACCOUNT, workspace_id="wholesale", reference=ref
    ),
    "switch_off a campaign": lambda desk, ref: desk.ledger.accounts.switch_off(
        ACCOUNT, campaign_id="winback", reference=ref
    ),
    "switch_on": lambda desk, ref: desk.ledger.accounts.switch_on(
        ACCOUNT, workspace_id="closed shop", reference=ref
    ),
    "close_account": lambda desk, ref: desk.ledger.accounts.close_account(
        ACCOUNT, reference=ref, reason="they left"
    ),
}

Ask = Callable[[Desk, ExecutionAttempt, Reserved], Awaitable[Any]]

# Each is about executions; the attempt it is told holds a reservation.
ASKS: dict[str, Ask] = {
    "reserve": lambda desk, attempt, reserved: desk.ledger.reserve(desk.attempt(), 10, 60_000),
    "settle": lambda desk, attempt, reserved: desk.settle(attempt, reserved, 10),
    "release": lambda desk, attempt, reserved: desk.ledger.release(
        Release(attempt, outcome=b"fallback")
    ),
    "conclude": lambda desk, attempt, reserved: desk.ledger.conclude(
        desk.attempt(), FallbackReason.INSUFFICIENT_CREDITS
    ),
}

# Each only looks.
LOOKS: dict[str, Callable[[Desk], Awaitable[Any]]] = {
    "balance": lambda desk: desk.ledger.accounts.balance(ACCOUNT),
    "caps": lambda desk: desk.ledger.accounts.caps(ACCOUNT),
}


async def lived_in(desk: Desk) -> tuple[ExecutionAttempt, Reserved]:
    """An account with something under each of its keys: a grant that is used up and one in use,
    caps, a workspace that is switched off, a settled execution and one that runs.
    """
    await desk.open(100, 1_000)
    ledger = desk.ledger
    await ledger.accounts.set_cap(ACCOUNT, CAP, limit_mc=900, reference="a cap")
    await ledger.accounts.set_cap(ACCOUNT, OTHER_CAP, limit_mc=950, reference="another cap")
    await ledger.accounts.switch_off(ACCOUNT, workspace_id="closed shop", reference="a switch")
    await desk.spend(100)
    return await desk.reserve(200, desk.attempt("journey-open:step:1"))
