"""Failovers to a replica under load, some of them behind a replication that had broken down."""

from __future__ import annotations

import random
import time
from functools import partial

from tests.drills.archiver import Archivers
from tests.drills.books import Findings, check
from tests.drills.drill import Drill, Round
from tests.drills.journals import in_redis, open_accounts
from tests.drills.losses import Losses
from tests.drills.plan import Plan
from tests.drills.replicas import Replicas
from tests.drills.workers import Workers

_LONGEST_PAUSE_S = 1.0
_LONGEST_LAG_S = 0.3


async def _run(durability: str, this: Round) -> Findings:
    chance = random.Random(this.seed)
    servers = Replicas(this.folder)
    servers.start()
    try:
        plan = Plan(str(this.folder), servers.url, 3, durability=durability, wait_replicas=2)
        await open_accounts(plan)
        losses = Losses(plan)
        # An archive ahead of a ledger that lost writes is a fork.
        archiving = int(durability == "replicated")
        with Workers(plan) as workers, Archivers(plan, archiving) as archivers:
            workers.wait_until_executing()
            for _ in range(this.strikes):
                time.sleep(chance.random() * _LONGEST_PAUSE_S)
                await _fail_over(losses, servers, chance)
                workers.wait_until_going_on()
            workers.end()
            archivers.end()
            found = await check(plan, losses)
            found.counts["failovers"] = this.strikes
            if durability == "replicated":
                found.check(not losses.found, "replicated lost acknowledged writes")
            return found
    finally:
        servers.stop()


async def _fail_over(losses: Losses, servers: Replicas, chance: random.Random) -> None:
    """Kill the primary, elect any replica, and accept what is lost."""
    cut_off = chance.sample(servers.replicas, chance.randint(0, 2))
    for server in cut_off:
        servers.cut_off(server)
    time.sleep(chance.random() * _LONGEST_LAG_S)
    dead = servers.kill_primary()
    servers.elect(chance)
    dead.start()  # for itself: what it had is compared with what its successor has
    gone = await losses.find(servers.primary.url, await in_redis(losses.plan, dead.url))
    servers.introduce()
    servers.rejoin(dead)
    await losses.accept(gone)


FAILOVERS = tuple(
    Drill(
        f"failovers-{durability}",
        f"failovers to a replica under load, {text}",
        strikes=20,
        each=3,  # of an account, processes keep what they were told in the last four epochs
        run=partial(_run, durability),
    )
    for durability, text in (
        ("replicated", "each write acknowledged by both replicas (replicated)"),
        ("relaxed", "no write acknowledged by a replica (relaxed)"),
    )
)
