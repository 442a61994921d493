"""Failovers to a replica under load, some of them behind a replication that had broken down."""

from __future__ import annotations

import random
import time
from functools import partial

from tests.drills.archiver import Archivers
from tests.drills.books import Findings, check
from tests.drills.drill import Drill, Round
from tests.drills.journals import Loss, accept, in_redis, losses, open_accounts
from tests.drills.killed_redis import HEARD_AFTER_S
from tests.drills.plan import Plan, told
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
        lost: list[Loss] = []
        # An archive ahead of a ledger that lost writes is a fork.
        archiving = int(durability == "replicated")
        with Workers(plan) as workers, Archivers(plan, archiving) as archivers:
            workers.wait_until_executing()
            for _ in range(this.strikes):
                time.sleep(chance.random() * _LONGEST_PAUSE_S)
                lost += await _fail_over(plan, servers, chance)
                workers.wait_until_going_on()
            workers.end()
            archivers.end()
            found = await check(plan, lost)
            found.counts["failovers"] = this.strikes
            if durability == "replicated":
                found.check(not lost, f"replicated lost acknowledged writes: {lost}")
            return found
    finally:
        servers.stop()


async def _fail_over(plan: Plan, servers: Replicas, chance: random.Random) -> list[Loss]:
    """Kill the primary and elect any replica; return what is lost, once it was accepted."""
    cut_off = chance.sample(servers.replicas, chance.randint(0, 2))
    for server in cut_off:
        servers.cut_off(server)
    time.sleep(chance.random() * _LONGEST_LAG_S)
    dead = servers.kill_primary()
    time.sleep(HEARD_AFTER_S)
    known = told(plan)
    servers.elect(chance)
    kept = await in_redis(plan, servers.primary.url)
    servers.introduce()
    dead.start()
    gone = losses(known, kept, await in_redis(plan, dead.url))
    servers.rejoin(dead)
    await accept(plan, gone)
    return gone


FAILOVERS = tuple(
    Drill(
        f"failovers-{durability}",
        f"failovers to a replica under load, {text}",
        strikes=20,
        each=5,
        run=partial(_run, durability),
    )
    for durability, text in (
        ("replicated", "each write acknowledged by both replicas (replicated)"),
        ("relaxed", "no write acknowledged by a replica (relaxed)"),
    )
)
