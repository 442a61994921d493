"""The ledger's only server is killed under load, and started again on its data."""

from __future__ import annotations

import random
import time

from tests.drills.address import Address
from tests.drills.books import Findings, check
from tests.drills.drill import Drill, Round
from tests.drills.journals import open_accounts
from tests.drills.losses import Losses
from tests.drills.plan import Plan
from tests.drills.workers import Workers
from tests.harness.servers import NEWER, Server, program

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
        losses = Losses(plan)
        with Workers(plan) as workers:
            workers.wait_until_executing()
            for _ in range(this.strikes):
                time.sleep(chance.random() * _LONGEST_PAUSE_S)
                server.stop()
                address.point_nowhere()
                server.start()
                gone = await losses.find(server.url)
                address.point_to(server.url)
                await losses.accept(gone)
                workers.wait_until_going_on()
            workers.end()
            found = await check(plan, losses)
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
