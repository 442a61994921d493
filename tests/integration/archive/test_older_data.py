"""Law 1a: a server that comes back with older data, or with none, and what is done about it."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

from runtime.archive.audit import Auditor
from runtime.archive.rebuild import Rebuilder
from runtime.archive.repair_fork import ForkRepairer
from runtime.credits.told import ToldFile, read_told
from runtime.store.database import database_url, open_database
from tests.harness.archiving import archive
from tests.harness.ledger.desk import ACCOUNT, open_desk
from tests.harness.private_redis import PrivateRedis

WHO: dict[str, Any] = {"reason": "the disk of redis-1", "actor": "ann"}


async def test_law_1a_a_server_that_starts_with_an_older_file_is_found_out_and_put_right(
    private_redis: PrivateRedis, tmp_path: Path
) -> None:
    data, copy = tmp_path / "private-redis", tmp_path / "copy"
    file = ToldFile(tmp_path / "told", "t")
    async with open_database(database_url(f"sqlite:///{tmp_path}/archive.db")) as database:
        async with open_desk(private_redis.url, "t") as desk:
            await desk.open(1_000)
            await desk.spend(100)
            kept = await archive(desk, database)
            await private_redis.stop()
            shutil.copytree(data, copy, ignore=shutil.ignore_patterns("*.lock", "*.sock"))
            await private_redis.start()
        async with open_desk(private_redis.url, "t") as desk:
            desk.numbers = itertools.count(100)
            desk.ledger.tell_to(file.note)
            await desk.grant(500, reference="payment")
            archived = await archive(desk, database)
            await desk.spend(30)
            last = (await desk.ledger.inspection.stored(ACCOUNT)).seq
            await file.aclose()
        await private_redis.stop()
        for path in copy.iterdir():
            if path.is_dir():
                shutil.rmtree(data / path.name)
                shutil.copytree(path, data / path.name)
            else:
                shutil.copy(path, data / path.name)
        await private_redis.start()

        told = read_told([tmp_path / "told"], "t")
        async with open_desk(private_redis.url, "t") as desk:
            found = await Auditor(desk.ledger.inspection, database, told).audit([ACCOUNT])
            [behind] = found.differences
            assert behind.seq == kept + 1
            [lost] = found.lost
            assert (lost.first_seq, lost.last_seq) == (kept + 1, last)
            done = await ForkRepairer(desk.ledger, database).repair(ACCOUNT, **WHO)
            assert done is not None
            assert (done.lost, done.grants) == (archived - kept, 1)
            await archive(desk, database)
            found = await Auditor(desk.ledger.inspection, database).audit([ACCOUNT])
            assert found.balances, found
            assert (await desk.balance()).granted_mc == 1_500


async def test_law_1a_a_server_that_was_flushed_gets_its_accounts_back(
    private_redis: PrivateRedis, tmp_path: Path
) -> None:
    async with (
        open_database(database_url(f"sqlite:///{tmp_path}/archive.db")) as database,
        open_desk(private_redis.url, "t") as desk,
    ):
        await desk.open(1_000)
        attempt, reserved = await desk.reserve(100)
        await archive(desk, database)
        await desk.client.flushall()
        fresh = desk.another_ledger(clock_ms=lambda: desk.now_ms)
        await Rebuilder(fresh, database, lambda: desk.now_ms).rebuild(ACCOUNT, **WHO)
        # A call that ran all the time is charged as it ends, by a process that knew the account.
        settled = await desk.settle(attempt, reserved, 60)
        assert (settled.charged_mc, settled.flags) == (60, ("orphan",))
        assert (await desk.client.xinfo_stream(desk.key("journal")))["length"] == 2
