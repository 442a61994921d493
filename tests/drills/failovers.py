"""Failovers to a replica under load, some of them behind a replication that had broken down."""

from __future__ import annotations

import random
import time
from functools import partial

from tests.drills.archiver import Archivers
from tests.drills.books import Findings, check
from tests.drills.drill import Drill, Round
from tests.drills.journals import InRedis, archived, in_redis, open_accounts
from tests.drills.losses import Losses
from tests.drills.plan import Plan
from tests.drills.replicas import Replicas
from tests.drills.workers import Workers

_LONGEST_PAUSE_S = 1.0


async def _run(
    durability: str, archivers_count: int, longest_lag_s: float, this: Round
) -> Findings:
    chance = random.Random(this.seed)
    servers = Replicas(this.folder)
    servers.start()
    try:
        plan = Plan(str(this.folder), servers.url, 3, durability=durability, wait_replicas=2)
        await open_accounts(plan)
        losses = Losses(plan)
        forked = 0
        with Workers(plan) as workers, Archivers(plan, archivers_count) as archivers:
            workers.wait_until_executing()
            for _ in range(this.strikes):
                time.sleep(chance.random() * _LONGEST_PAUSE_S)
                forked += await _fail_over(losses, servers, chance, longest_lag_s)
                workers.wait_until_going_on()
            workers.end()
            archivers.end()
            found = await check(plan, losses)
            found.counts["failovers"] = this.strikes
            found.counts["accounts forked and repaired"] = forked
            found.counts["repairs repeated"] = losses.repeated
            if durability == "replicated":
                found.check(not losses.found, "replicated lost acknowledged writes")
                found.check(not forked, "replicated made forks")
            return found
    finally:
        servers.stop()


async def _fail_over(
    losses: Losses, servers: Replicas, chance: random.Random, longest_lag_s: float
) -> int:
    """Kill the primary, elect any replica, put right what is lost; return how many forked."""
    cut_off = chance.sample(servers.replicas, chance.randint(0, 2))
    for server in cut_off:
        servers.cut_off(server)
    time.sleep(chance.random() * longest_lag_s)
    dead = servers.kill_primary()
    servers.elect(chance)
    dead.start()  # for itself: what it had is compared with what its successor has
    plan = losses.plan
    in_archive = await archived(plan, dead.url)
    before = await in_redis(plan, dead.url)
    for account, entries in in_archive.items():
        there = {entry.seq for entry in before[account].entries}
        trimmed = [entry for entry in entries if entry.seq not in there]
        before[account] = InRedis(before[account].seq, (*trimmed, *before[account].entries))
    kept = await in_redis(plan, servers.primary.url)
    ahead = {name for name, one in in_archive.items() if one and one[-1].seq > kept[name].seq}
    gone = await losses.find(servers.primary.url, before)
    servers.introduce()
    servers.rejoin(dead)
    await losses.repair(ahead)
    await losses.accept([loss for loss in gone if loss.account_id not in ahead])
    return len(ahead)


FAILOVERS = tuple(
    Drill(
        f"failovers-{name}",
        f"failovers to a replica under load, {text}",
        strikes=20,
        each=3,  # of an account, processes keep what they were told in the last four epochs
        run=partial(_run, durability, archivers, longest_lag_s),
    )
    for name, durability, archivers, longest_lag_s, text in (
        (
            "replicated",
            "replicated",
            1,
            0.3,
            "each write acknowledged by both replicas (`replicated`), while one archives",
        ),
        ("relaxed", "relaxed", 0, 0.3, "no write acknowledged by a replica (`relaxed`)"),
        (
            "archived",
            "relaxed",
            1,
            2.0,  # time enough to archive what no replica has
            "with `relaxed`, while one archives: an archive that is ahead is a fork",
        ),
    )
)
