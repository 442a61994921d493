"""One process of a race: its ledger, its log of alerts, and its end when nobody needs it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

from runtime.credits.ledger import CreditLedger
from tests.harness.races.course import Course

Work = Callable[[Course, int, CreditLedger], Awaitable[None]]


def main(role: str, work: Work) -> None:
    """Run ``work`` for the course and number of the command line."""
    asyncio.run(_run(role, Course.from_json(sys.argv[1]), int(sys.argv[2]), work))


async def _run(role: str, course: Course, number: int, work: Work) -> None:
    client = course.connect()
    note = course.log(f"alerts-{role}", number).open()
    ledger = course.open_ledger(
        client, lambda alert: note(alert.mark, alert.threshold_mc, alert.left_mc)
    )
    working = asyncio.ensure_future(work(course, number, ledger))
    await asyncio.to_thread(print, "ready", flush=True)
    abandoned = asyncio.create_task(_stdin_closes())
    # So that nothing runs on when the test that started it has been killed.
    await asyncio.wait([working, abandoned], return_when="FIRST_COMPLETED")
    abandoned.cancel()
    working.cancel()
    with suppress(asyncio.CancelledError):
        await working
    await ledger.drain()
    await client.aclose()


async def _stdin_closes() -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    try:
        await reader.read()
    finally:
        transport.close()
