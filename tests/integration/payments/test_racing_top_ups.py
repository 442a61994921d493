"""Real processes that top up one account while executions use it up, and that are killed."""

from __future__ import annotations

import asyncio
import random
import sys
from contextlib import suppress

import pytest
from sqlalchemy import URL

from runtime.credits.journal import Part
from runtime.payments.payment import Kind, State
from tests.harness.command_line import PROCESS_ENV
from tests.harness.paths import ROOT
from tests.harness.payments import PACK_MC, SETTINGS, Till

PROCESSES = 3
CROSSINGS = 8
KILLS = 4


async def start(till: Till, url: URL) -> asyncio.subprocess.Process:
    plain = url.set(drivername=url.get_backend_name()).render_as_string(hide_password=False)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.harness.payments_racer"),
        *(plain, till.redis_url, till.desk.prefix, till.fake.url),
        cwd=ROOT,
        env=PROCESS_ENV,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    return process


async def end(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_however_processes_race_and_die_each_crossing_is_paid_and_credited_once(
    till: Till, payments_url: URL
) -> None:
    chance = random.Random(20261127)
    till.fake.delay_s = 0.01
    await till.top_up(settings=SETTINGS)
    running = [await start(till, payments_url) for _ in range(PROCESSES)]
    try:
        kills = 0
        async with asyncio.timeout(120):
            while till.fake.charges < CROSSINGS:
                left_mc = (await till.balance()).available_mc
                if left_mc:
                    await till.desk.spend(min(left_mc, chance.randrange(1, PACK_MC // 2)))
                if kills < KILLS and chance.random() < 0.2:
                    kills += 1
                    await asyncio.sleep(chance.random() * 0.05)
                    await end(running.pop(0))
                    till.fake.lose_answers = chance.randrange(2)
                    running.append(await start(till, payments_url))
                await asyncio.sleep(chance.random() * 0.02)
    finally:
        for process in running:
            await end(process)
    await asyncio.sleep(0.3)
    till.fake.lose_answers = 0
    for payment in await till.payments.page("acme", limit=1_000):
        if payment.state in (State.CREATED, State.PAID):
            await till.payments.retry(payment.payment_id)

    made = [
        each for each in await till.payments.page("acme", limit=1_000) if each.kind is Kind.TOP_UP
    ]
    assert {payment.state for payment in made} == {State.CREDITED}
    assert len(made) == till.fake.charges
    balance = await till.balance()
    assert balance.granted_mc == PACK_MC * len(made)
    assert till.fake.charged_cents == 1_000 * len(made)
    assert await till.stopped() is None

    # Nothing but top-ups gives credits, so before each of them what is left must be low.
    left_mc = 0
    for entry in await till.desk.journal():
        if entry.kind == "granted":
            assert left_mc <= SETTINGS.below_mc, "two for one crossing"
        for posting in entry.postings:
            if posting.source is Part.NOTHING:
                left_mc += posting.amount_mc
            elif posting.target is Part.CHARGED:
                left_mc -= posting.amount_mc
