"""Short words for tests about caps."""

from __future__ import annotations

from typing import Any

from runtime.credits.answers import Refused
from runtime.credits.caps import Cap, CapStatus, CapWindow
from tests.integration.ledger.desk import ACCOUNT, Desk

DAY, MONTH, TOTAL = CapWindow.DAY, CapWindow.MONTH, CapWindow.TOTAL


async def cap(desk: Desk, cap: Cap, limit_mc: int, **changes: Any) -> None:
    """Set a cap, under a reference of its own."""
    fields = {"reference": f"cap-{next(desk.numbers)}"} | changes
    assert await desk.ledger.set_cap(ACCOUNT, cap, limit_mc=limit_mc, **fields)


async def status(desk: Desk, cap: Cap | None = None) -> CapStatus:
    """The only cap, or this one."""
    (found,) = [s for s in await desk.ledger.caps(ACCOUNT) if cap is None or s.cap == cap]
    return found


async def uses(desk: Desk, cap: Cap | None = None) -> tuple[int, int, int]:
    """Charged, reserved and excess."""
    found = await status(desk, cap)
    return found.charged_mc, found.reserved_mc, found.cap_excess_mc


async def refusal(desk: Desk, amount_mc: int, **about: str) -> Refused:
    answer = await desk.ledger.reserve(desk.attempt(**about), amount_mc, 60_000)
    assert isinstance(answer, Refused), answer
    return answer
