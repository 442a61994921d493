"""Archivers that are killed, and servers that are away for a while."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from unittest import mock

import pytest
from sqlalchemy import URL, Connection, event

from runtime.archive import archiving
from runtime.archive.archiving import Archiving
from runtime.archive.copier import Archived, Copier
from runtime.config import Config
from runtime.credits.results import LedgerUnavailable
from runtime.redis.keys import Keys, bucket_of, slot_of_bucket
from runtime.store import database
from runtime.store.database import StoreUnavailable, database_url, open_database
from tests.harness.archive import ArchiveDesk, archived_bodies, fill
from tests.harness.command_line import PROCESS_ENV
from tests.harness.configs import load, right
from tests.harness.ledger.desk import connect, make_ledger
from tests.harness.paths import ROOT
from tests.harness.postgres import PostgresServer, PostgresUnavailable, refuse_or_skip
from tests.harness.private_redis import PrivateRedis
from tests.harness.servers import CLUSTER, LedgerServers

PATIENCE_S = 30


class Killer:
    """Archivers that are killed at a statement."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def archive(self, at: int) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"%d\n" % at)
        return (await self._process.stdout.readline()).decode().strip()


@asynccontextmanager
async def killer_of(redis_url: str, prefix: str, archive_url: URL) -> AsyncIterator[Killer]:
    plain = archive_url.set(drivername=archive_url.get_backend_name())
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.harness.archive_killer"),
        *(redis_url, prefix, plain.render_as_string()),
        cwd=ROOT,
        env=PROCESS_ENV,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    yield Killer(process)
    assert process.stdin is not None
    process.stdin.close()
    assert await process.wait() == 0


async def kill_at(
    points: range, desk: ArchiveDesk, redis_url: str, prefix: str, archive_url: URL
) -> int:
    """Kill an archiver at each point; return at which it was done first, or the end."""
    written: list[str] = []
    async with killer_of(redis_url, prefix, archive_url) as killer:
        for at in points:
            await fill(desk.ledger, "acme", 5, first=at * 1_000)
            in_redis = await desk.in_redis("acme")
            written += [body for body in in_redis if body not in written]
            how = await killer.archive(at)
            assert how in {"killed", "done"}
            archived = await desk.archived("acme")
            assert archived == written[: len(archived)], "each entry once, in order"
            kept = await desk.in_redis("acme")
            missing = written[len(archived) :]
            assert kept[len(kept) - len(missing) :] == missing, "nothing is trimmed too early"
            if how == "done":
                assert (archived, kept) == (written, [])
                return at
    await desk.copier().run_once()
    assert await desk.archived("acme") == written
    return points.stop


@pytest.mark.timeout(300)
@pytest.mark.parametrize("archive_url", ["sqlite"], indirect=True)
async def test_an_archiver_killed_at_some_statements_loses_and_doubles_nothing(
    archive_desk: ArchiveDesk, redis_url: str, key_prefix: str, archive_url: URL
) -> None:
    await kill_at(range(5, 60, 11), archive_desk, redis_url, key_prefix, archive_url)


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_an_archiver_killed_at_every_statement_loses_and_doubles_nothing(
    archive_desk: ArchiveDesk, redis_url: str, key_prefix: str, archive_url: URL
) -> None:
    points = range(1, 500)
    done = await kill_at(points, archive_desk, redis_url, key_prefix, archive_url)
    assert 15 < done < 500, f"it was killed at {done - 1} statements"


async def test_a_frozen_redis_ends_a_round_which_the_next_one_makes_good(
    private_redis: PrivateRedis, key_prefix: str, tmp_path: Path
) -> None:
    client, keys = connect(private_redis.url), Keys(key_prefix)
    ledger = make_ledger(client, key_prefix)
    await fill(ledger, "acme", 50)
    await ledger.drain()
    async with open_database(database_url(f"sqlite:///{tmp_path}/a.db")) as opened:
        copier = Copier(opened, client, keys, timeout_ms=2_000)
        private_redis.pause()
        with pytest.raises(LedgerUnavailable):
            await copier.run_once()
        private_redis.resume()
        assert (await copier.run_once()).entries == 53
        assert len(await archived_bodies(opened, "acme")) == 53
    await client.aclose()


async def test_what_cannot_be_trimmed_in_time_is_trimmed_later(
    private_redis: PrivateRedis, key_prefix: str, tmp_path: Path
) -> None:
    client, keys = connect(private_redis.url), Keys(key_prefix)
    ledger = make_ledger(client, key_prefix)
    await fill(ledger, "acme", 50)
    await ledger.drain()
    async with open_database(database_url(f"sqlite:///{tmp_path}/a.db")) as opened:
        copier = Copier(opened, client, keys, timeout_ms=1_000)
        real = copier._streams.trim  # noqa: SLF001 - nothing else says when to freeze

        async def trim(archived: list[tuple[str, int, str]]) -> dict[str, str]:
            private_redis.pause()
            return await real(archived)

        with mock.patch.object(copier._streams, "trim", trim), pytest.raises(LedgerUnavailable):  # noqa: SLF001 - as above
            await copier.run_once()
        private_redis.resume()
        assert len(await archived_bodies(opened, "acme")) == 53
        assert (await copier.run_once()).entries == 0
        assert await client.xlen(keys.part("acme", "journal")) == 0
    await client.aclose()


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL of the test's own, to kill."""
    try:
        server = PostgresServer()
        server.start()
    except PostgresUnavailable as error:
        refuse_or_skip(error)
        raise
    yield server
    server.stop()


def config_of(redis_url: str, prefix: str, archive_url: str, tmp_path: Path) -> Config:
    sections = {
        "redis": {"url": redis_url, "key_prefix": prefix},
        "archive": {"url": archive_url},
        "data_dir": str(tmp_path),
    }
    return load(right() | sections)


async def test_archiving_goes_on_by_itself_after_postgresql_was_killed(
    own_postgres: PostgresServer,
    private_redis: PrivateRedis,
    key_prefix: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    url = own_postgres.new_database()
    client = connect(private_redis.url)
    ledger = make_ledger(client, key_prefix)
    faults: asyncio.Queue[str] = asyncio.Queue()
    rounds: asyncio.Queue[Archived] = asyncio.Queue()
    archiving_task = Archiving(
        config_of(private_redis.url, key_prefix, url, tmp_path),
        ledger.key_check,
        client,
        pause_s=0.05,
        on_round=rounds.put_nowait,
        on_fault=faults.put_nowait,
    )
    with mock.patch.object(archiving, "_FIRST_PAUSE_S", 0.05):
        archiving_task.start()
        filling = asyncio.create_task(fill(ledger, "acme", 1_500))
        await asyncio.wait_for(rounds.get(), PATIENCE_S)
        await asyncio.to_thread(own_postgres.kill)
        await filling
        await fill(ledger, "acme", 100, first=10_000)
        await asyncio.wait_for(faults.get(), PATIENCE_S)
        assert archiving_task.fault
        await asyncio.to_thread(own_postgres.start)
        while await client.xlen(Keys(key_prefix).part("acme", "journal")):
            await asyncio.wait_for(rounds.get(), PATIENCE_S)
        await archiving_task.aclose()
    assert "archiving goes on" in caplog.text
    async with open_database(database_url(url)) as opened:
        bodies = await archived_bodies(opened, "acme")
    assert len(bodies) == len(set(bodies)) == 1_603
    await ledger.drain()
    await client.aclose()


async def test_a_postgresql_that_does_not_answer_is_given_up_after_a_while(
    own_postgres: PostgresServer, key_prefix: str, private_redis: PrivateRedis
) -> None:
    client = connect(private_redis.url)
    ledger = make_ledger(client, key_prefix)
    await fill(ledger, "acme", 5)
    with mock.patch.object(database, "_CONNECT_S", 1), mock.patch.object(database, "_ANSWER_S", 1):
        async with open_database(database_url(own_postgres.new_database())) as opened:
            copier = Copier(opened, client, Keys(key_prefix), timeout_ms=10_000)
            async with opened.begin() as connection:
                await connection.exec_driver_sql("LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE")
                with pytest.raises(StoreUnavailable, match="TimeoutError"):
                    await copier.run_once()
            assert (await copier.run_once()).entries == 8
    await ledger.drain()
    await client.aclose()


async def test_archiving_starts_without_its_database(
    private_redis: PrivateRedis, key_prefix: str, tmp_path: Path
) -> None:
    client = connect(private_redis.url)
    ledger = make_ledger(client, key_prefix)
    faults: asyncio.Queue[str] = asyncio.Queue()
    task = Archiving(
        config_of(private_redis.url, key_prefix, "postgresql://127.0.0.1:9/none", tmp_path),
        ledger.key_check,
        client,
        on_fault=faults.put_nowait,
    )
    task.start()
    assert "127.0.0.1:9" in await asyncio.wait_for(faults.get(), PATIENCE_S)
    await task.aclose()
    await ledger.drain()
    await client.aclose()


async def test_a_cluster_is_archived_primary_by_primary(
    ledger_servers: LedgerServers, key_prefix: str, tmp_path: Path
) -> None:
    client, keys = connect(ledger_servers.url(CLUSTER)), Keys(key_prefix)
    ledger = make_ledger(client, key_prefix)
    names = [f"account-{number}" for number in range(12)]
    slots = {slot_of_bucket(bucket_of(name)) * 3 // 16_384 for name in names}
    assert slots == {0, 1, 2}, "accounts on each of the three primaries"
    for name in names:
        await fill(ledger, name, 10)
    async with open_database(database_url(f"sqlite:///{tmp_path}/a.db")) as opened:
        copier = Copier(opened, client, keys, timeout_ms=10_000)
        assert (await copier.lag()).entries == 12 * 13
        archived = await copier.run_once()
        assert (archived.entries, archived.accounts, archived.left) == (12 * 13, 12, {})
        for name in names:
            assert len(await archived_bodies(opened, name)) == 13
            assert await client.xlen(keys.part(name, "journal")) == 0
        assert (await copier.lag()).accounts == ()
    await ledger.drain()
    await client.aclose()


async def open_and_close(url: URL) -> None:
    async with open_database(url) as opened, opened.connect():
        pass


async def test_an_archive_opened_by_many_at_once_is_made_once(archive_url: URL) -> None:
    await asyncio.gather(*(open_and_close(archive_url) for _ in range(6)))


@pytest.mark.parametrize("archive_url", ["sqlite"], indirect=True)  # its file can be kept small
async def test_a_full_disk_ends_a_round_and_leaves_the_archive_as_it_was(
    archive_desk: ArchiveDesk,
) -> None:
    desk = archive_desk
    engine = desk.database.engine.sync_engine

    def allow(pages: int) -> Callable[[Connection], None]:
        def on_begin(connection: Connection) -> None:
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

        return on_begin

    little, plenty = allow(10), allow(1_000_000)
    event.listen(engine, "begin", little)
    await fill(desk.ledger, "acme", 300)
    with pytest.raises(StoreUnavailable, match="full"):
        await desk.copier().run_once()
    assert await desk.archived("acme") == []
    waiting = await desk.in_redis("acme")
    assert len(waiting) == 303, "what is not committed is not trimmed"
    event.remove(engine, "begin", little)
    event.listen(engine, "begin", plenty)
    assert (await desk.copier().run_once()).entries == 303
    assert await desk.archived("acme") == waiting
