"""A cluster of three primaries and three replicas under load: slots move, primaries fail over."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from tests.drills.archiver import Archivers
from tests.drills.books import Findings, check
from tests.drills.drill import Drill, Round
from tests.drills.journals import open_accounts
from tests.drills.plan import Plan
from tests.drills.workers import Workers
from tests.harness.cluster_operator import REPLICATED, SOUND_UNDER_STALLS, ClusterOperator
from tests.harness.servers import CLUSTER_SCHEME, PRIMARIES, Cluster, ServerProgramMissing, program

_LONGEST_PAUSE_S = 1.0
_KEYS_AT_ONCE = 20
_LONGEST_MOVE_PAUSE_S = 0.1

_Strike = Callable[[ClusterOperator, str, random.Random, Findings], None]


async def _run(strike: _Strike, this: Round) -> Findings:
    chance = random.Random(this.seed)
    # Each of the accounts is on another primary, as the slots are at first.
    cluster = Cluster(this.folder / "cluster", {**SOUND_UNDER_STALLS, **REPLICATED}, replicas=1)
    cluster.start()
    try:
        plan = Plan(
            str(this.folder),
            cluster.url.removeprefix(CLUSTER_SCHEME),
            PRIMARIES,
            durability="replicated",
            timeout_ms=1_000,
            deadline_ms=5_000,
            ttl_ms=8_000,
            cluster=True,
        )
        operator, seen = ClusterOperator(cluster), Findings()
        await open_accounts(plan)
        with Workers(plan) as workers, Archivers(plan, 1) as archivers:
            workers.wait_until_executing()
            for _ in range(this.strikes):
                time.sleep(chance.random() * _LONGEST_PAUSE_S)
                strike(operator, chance.choice(plan.accounts), chance, seen)
                workers.wait_until_going_on()
            workers.end()
            archivers.end()
        found = await check(plan, each_call_is_charged=True)
        found.counts += seen.counts
        return found
    finally:
        cluster.stop()


def _move(operator: ClusterOperator, account: str, chance: random.Random, seen: Findings) -> None:
    pause_s = chance.random() * _LONGEST_MOVE_PAUSE_S
    seen.counts["slots moved"] += 1
    seen.counts["keys moved"] += operator.move(account, keys_at_once=_KEYS_AT_ONCE, pause_s=pause_s)


def _fail_over(
    operator: ClusterOperator, account: str, chance: random.Random, seen: Findings
) -> None:
    if chance.random() < 0.5:
        operator.fail_over_by_kill(account)
        seen.counts["primaries killed"] += 1
    else:
        operator.fail_over_by_command(account)
        seen.counts["primaries replaced"] += 1


def _lacks() -> str:
    try:
        program("cluster")
    except ServerProgramMissing as error:
        return str(error)
    return ""


def _drill(name: str, about: str, strikes: int, each: int, strike: _Strike) -> Drill:
    async def run(this: Round) -> Findings:
        return await _run(strike, this)

    return Drill(name, about, strikes, each, run, _lacks)


CLUSTERS = (
    _drill(
        "cluster-slots",
        "moves of an account's slot to another primary of a cluster under load, key by key, each "
        "write acknowledged by a replica, while one archives",
        strikes=10,
        each=5,
        strike=_move,
    ),
    _drill(
        "cluster-failovers",
        "failovers of a primary of a cluster under load, half of them by SIGKILL and half by "
        "CLUSTER FAILOVER, each write acknowledged by a replica, while one archives",
        strikes=10,
        each=5,
        strike=_fail_over,
    ),
)
