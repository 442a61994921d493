"""The ledger's only server is killed under load, and started again on its data."""

from __future__ import annotations

import random
import time

from tests.drills.address import Address
from tests.drills.books import Findings, check
from tests.drills.drill import Drill, Round
from tests.drills.journals import Loss, accept, in_redis, losses, open_accounts
from tests.drills.plan import Plan, told
from tests.drills.workers import Workers
from tests.harness.servers import NEWER, Server, program

HEARD_AFTER_S = 0.3
"""By then a process has read every answer that a dead server had sent."""

_LONGEST_PAUSE_S = 1.0


async def _run(this: Round) -> Findings:
    chance = random.Random(this.seed)
    server = Server(program(NEWER), this.folder / "redis")
    address = Address()
    server.start()
    try:
        address.point_to(server.url)
        plan = Plan(str(this.folder), address.url, 3)
        await open_accounts(plan)
        lost: list[Loss] = []
        with Workers(plan) as workers:
            workers.wait_until_executing()
            for _ in range(this.strikes):
                time.sleep(chance.random() * _LONGEST_PAUSE_S)
                server.stop()
                address.point_nowhere()
                time.sleep(HEARD_AFTER_S + chance.random() * _LONGEST_PAUSE_S)
                known = told(plan)
                server.start()
                gone = losses(known, await in_redis(plan, server.url))
                address.point_to(server.url)
                await accept(plan, gone)
                lost += gone
                workers.wait_until_going_on()
            workers.end()
            found = await check(plan, lost)
            found.counts["servers killed"] = this.strikes
            return found
    finally:
        server.stop()
        address.remove()


KILLED_REDIS = Drill(
    "killed-redis",
    "SIGKILL of Redis under load (appendfsync everysec), started again on its data",
    strikes=20,
    each=5,
    run=_run,
)
