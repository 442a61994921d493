"""A process that sweeps all the time.

Usage: python -m tests.harness.races.sweeper COURSE NUMBER
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from runtime.credits.ledger import CreditLedger
from runtime.credits.results import LedgerUnavailable
from tests.harness.races import process
from tests.harness.races.course import Course


async def work(course: Course, number: int, ledger: CreditLedger) -> None:
    while True:
        with suppress(LedgerUnavailable):
            await ledger.sweep()
        await asyncio.sleep(course.sweep_every_s)


if __name__ == "__main__":
    process.main("sweeper", work)
