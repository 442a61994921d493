"""The disk of the archive is full while it is archived to, until somebody frees space."""

from __future__ import annotations

import random
import time

from tests.drills.archiver import Archivers
from tests.drills.books import Findings, check
from tests.drills.drill import Drill, Round
from tests.drills.journals import open_accounts
from tests.drills.plan import Plan
from tests.drills.small_disk import SmallDisk, missing
from tests.drills.workers import Workers
from tests.harness.servers import NEWER, Server, program

_BEGIN_KILOBYTES = 512
_FULL_WITHIN_S = 60.0
_LONGEST_PAUSE_S = 1.0
_IS_FULL = "database or disk is full"


async def _run(this: Round) -> Findings:
    chance = random.Random(this.seed)
    server = Server(program(NEWER), this.folder / "redis")
    server.start()
    disk = this.folder / "archive"
    try:
        with SmallDisk(disk, _BEGIN_KILOBYTES) as small:
            plan = Plan(
                str(this.folder),
                server.url,
                2,
                own_accounts=False,
                archive_url=f"sqlite:///{disk}/archive.db",
            )
            await open_accounts(plan)
            with Workers(plan) as workers, Archivers(plan, 1) as archivers:
                workers.wait_until_executing()
                for number in range(this.strikes):
                    _wait_until_full(plan, archivers, number)
                    time.sleep(chance.random() * _LONGEST_PAUSE_S)
                    workers.wait_until_going_on()
                    small.grow(small.used_kilobytes() + 256)
                small.grow(small.used_kilobytes() + 100_000)
                workers.end()
                archivers.end()
                found = await check(plan)
        found.counts["times that the disk was full"] = this.strikes
        return found
    finally:
        server.stop()


def _wait_until_full(plan: Plan, archivers: Archivers, before: int) -> None:
    give_up_at_s = time.monotonic() + _FULL_WITHIN_S
    path = plan.archiver_errors(0)
    seen = 0
    while seen <= before:
        assert time.monotonic() < give_up_at_s, f"not full yet: {archivers.told(0)}"
        time.sleep(0.05)
        seen = path.read_text().count(_IS_FULL) if path.exists() else 0


FULL_ARCHIVE = Drill(
    "full-archive",
    "the disk of an archive in SQLite is full while it is archived to, again and again",
    strikes=10,
    each=5,
    run=_run,
    needs=missing,
)
