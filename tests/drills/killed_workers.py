"""Workers are killed at random points, and what was under way is delivered again."""

from __future__ import annotations

import random
import time

from tests.drills.archiver import Archivers
from tests.drills.books import Findings, check
from tests.drills.drill import Drill, Round
from tests.drills.journals import open_accounts
from tests.drills.plan import Plan
from tests.drills.workers import Workers
from tests.harness.servers import NEWER, Server, program

_LONGEST_PAUSE_S = 0.5


async def _run(this: Round) -> Findings:
    chance = random.Random(this.seed)
    server = Server(program(NEWER), this.folder / "redis")
    server.start()
    try:
        plan = Plan(str(this.folder), server.url, 4, own_accounts=False, at_once=16, faults=0.06)
        await open_accounts(plan)
        with Workers(plan) as workers, Archivers(plan, 1) as archivers:
            workers.wait_until_executing()
            for _ in range(this.strikes):
                time.sleep(chance.random() * _LONGEST_PAUSE_S)
                workers.kill_one(chance)
            workers.wait_until_going_on()
            workers.end()
            archivers.end()
            found = await check(plan)
            found.counts["workers killed"] = workers.kills
            return found
    finally:
        server.stop()


KILLED_WORKERS = Drill(
    "killed-workers", "SIGKILL of workers at random points", strikes=200, each=20, run=_run
)
