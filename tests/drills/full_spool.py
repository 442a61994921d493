"""Redis is away and the disk of the spool is full: endings wait in memory."""

from __future__ import annotations

import random
import time

from tests.drills.books import Findings, check
from tests.drills.drill import Drill, Round
from tests.drills.journals import open_accounts
from tests.drills.plan import Plan
from tests.drills.small_disk import SmallDisk, missing
from tests.drills.workers import Workers
from tests.harness.servers import NEWER, Server, program

_LONGEST_PAUSE_S = 1.0
_DISK_KILOBYTES = 48
_REFUSED = "the spool can't be written"


async def _run(this: Round) -> Findings:
    chance = random.Random(this.seed)
    server = Server(program(NEWER), this.folder / "redis")
    server.start()
    plan = Plan(str(this.folder), server.url, 3, at_once=40)
    try:
        with SmallDisk(plan.spool, _DISK_KILOBYTES):
            await open_accounts(plan)
            with Workers(plan) as workers:
                workers.wait_until_executing()
                for _ in range(this.strikes):
                    time.sleep(chance.random() * _LONGEST_PAUSE_S)
                    server.stop()
                    time.sleep(0.5 + chance.random() * _LONGEST_PAUSE_S)
                    server.start()
                    workers.wait_until_going_on()
                workers.end()
                found = await check(plan)
        refused = sum(
            plan.errors(worker).read_text().count(_REFUSED) for worker in range(plan.workers)
        )
        found.counts["outages with a full disk"] = this.strikes
        found.counts["endings that the disk refused"] = refused
        found.check(refused > 0, "the disk was never full")
        return found
    finally:
        server.stop()


FULL_SPOOL = Drill(
    "full-spool",
    "the disk is full while settlements are spooled, because Redis is away",
    strikes=20,
    each=5,
    run=_run,
    needs=missing,
)
