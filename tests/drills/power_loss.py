"""Power is lost under load: nothing is on the disk but what an fsync had put there."""

from __future__ import annotations

import random
import time
from functools import partial

from tests.drills.address import Address
from tests.drills.archiver import Archivers
from tests.drills.books import Findings, check
from tests.drills.drill import Drill, Round
from tests.drills.journals import open_accounts
from tests.drills.losses import Losses
from tests.drills.plan import Plan
from tests.drills.preloaded import PreloadedServer, missing
from tests.drills.workers import Workers

_LONGEST_PAUSE_S = 1.5
_ON_THE_DISK_S = 1.5
"""By then everysec has put on the disk what was opened or accepted, which no process is told of."""


async def _run(durability: str, appendfsync: str, this: Round) -> Findings:
    chance = random.Random(this.seed)
    server = PreloadedServer(this.folder / "redis", appendfsync=appendfsync)
    address = Address()
    server.start()
    try:
        address.point_to(server.url)
        plan = Plan(str(this.folder), address.url, 3, durability=durability)
        await open_accounts(plan)
        time.sleep(_ON_THE_DISK_S)
        losses = Losses(plan)
        lost_bytes = 0
        # An archive ahead of a ledger that lost writes is a fork.
        archiving = int(durability == "fsync")
        with Workers(plan) as workers, Archivers(plan, archiving) as archivers:
            workers.wait_until_executing()
            for _ in range(this.strikes):
                time.sleep(0.2 + chance.random() * _LONGEST_PAUSE_S)
                lost_bytes += server.lose_power()
                address.point_nowhere()
                server.start()
                gone = await losses.find(server.url)
                address.point_to(server.url)
                await losses.accept(gone)
                time.sleep(_ON_THE_DISK_S)
                workers.wait_until_going_on()
            workers.end()
            archivers.end()
            found = await check(plan, losses)
            found.counts["power losses"] = this.strikes
            found.counts["bytes cut off"] = lost_bytes
            if durability == "fsync":
                found.check(not losses.found, "fsync lost acknowledged writes")
            return found
    finally:
        server.stop()
        address.remove()


POWER_LOSSES = (
    Drill(
        "power-loss-fsync",
        "power loss with `fsync`: the append-only file is cut at its last completed fsync",
        strikes=20,
        each=3,  # of an account, processes keep what they were told in the last four epochs
        run=partial(_run, "fsync", "always"),
        needs=missing,
    ),
    Drill(
        "power-loss-relaxed",
        "the same with `relaxed` (appendfsync everysec), which loses about a second",
        strikes=10,
        each=3,  # of an account, processes keep what they were told in the last four epochs
        run=partial(_run, "relaxed", "everysec"),
        needs=missing,
    ),
)
