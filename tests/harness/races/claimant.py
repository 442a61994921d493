"""A process that makes a list of changes to the account, as others make the same ones.

Usage: python -m tests.harness.races.claimant COURSE NUMBER

It goes through the list in an order of its own, and from its beginning when it is started again.
Logs what it was answered: reference, whether the change was new, and the answer, which is the
same for everybody. Ends by itself.
"""

from __future__ import annotations

import asyncio
import random

from pricing.offers import GrantKind
from runtime.credits.caps import Cap, CapWindow
from runtime.credits.ledger import CreditLedger
from runtime.credits.results import ReferenceConflict
from tests.harness.races import process
from tests.harness.races.course import ACCOUNT, Course

AT_ONCE = 8
GRANT_MC = 1_000


def reference_of(number: int) -> str:
    """Every eighth of them claims another amount in each process, or another kind of change."""
    sorts = ("grant", "void", "plan", "cap", "switch", "uncap", "contested", "ambiguous")
    return f"{sorts[number % len(sorts)]}-{number}"


async def _change(ledger: CreditLedger, claimant: int, number: int) -> tuple[bool, str]:
    """Make a change; return whether it was new, and the rest of the answer."""
    reference = reference_of(number)
    action = f"action-{number // 8}"
    cap = Cap(CapWindow.TOTAL, action=action)
    amount_mc, ambiguous_grant = GRANT_MC, claimant % 2 == 0
    match reference.partition("-")[0]:
        case "void":
            voided = await ledger.accounts.void(
                ACCOUNT, "g1", reference=reference, reason="a mistake"
            )
            return voided.new, str(voided.amount_mc)
        case "plan":
            new = await ledger.accounts.change_plan(ACCOUNT, plan="growth", reference=reference)
            return new, "changed"
        case "cap":
            new = await ledger.accounts.set_cap(ACCOUNT, cap, limit_mc=number, reference=reference)
            return new, "capped"
        case "uncap":
            # Whoever else removed it under this reference did so after its cap was set.
            await ledger.accounts.set_cap(
                ACCOUNT, cap, limit_mc=number - 2, reference=reference_of(number - 2)
            )
            return await ledger.accounts.remove_cap(ACCOUNT, cap, reference=reference), "uncapped"
        case "switch":
            return await ledger.accounts.switch_off(
                ACCOUNT, action=action, reference=reference
            ), "switched"
        case "ambiguous" if not ambiguous_grant:
            return await ledger.accounts.switch_off(
                ACCOUNT, action=action, reference=reference
            ), "switched"
        case "contested":
            amount_mc += claimant
    granted = await ledger.accounts.grant(
        ACCOUNT, amount_mc=amount_mc, kind=GrantKind.ADJUSTMENT, reference=reference
    )
    return granted.new, granted.grant_id


async def work(course: Course, claimant: int, ledger: CreditLedger) -> None:
    note = course.log("claimant", claimant).open()
    numbers = list(range(course.executions))
    random.shuffle(numbers)

    async def make_changes() -> None:
        while numbers:
            number = numbers.pop()
            try:
                new, answer = await _change(ledger, claimant, number)
            except ReferenceConflict as conflict:
                note(reference_of(number), "conflict", conflict.field)
            else:
                note(reference_of(number), new, answer)

    await asyncio.gather(*(make_changes() for _ in range(AT_ONCE)))


if __name__ == "__main__":
    process.main("claimant", work)
