"""Laws 1a and 3c: after lost writes nothing new is done, and nothing that is owed is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from redis import Redis

from providers.pacing.deadline import Deadline
from runtime.credits.endings import Release, Settlement
from runtime.credits.identity import ExecutionAttempt
from runtime.credits.journal import Kind, verify
from runtime.credits.results import (
    AccountStopped,
    AccountUnknown,
    LedgerUnavailable,
    Reserved,
    Settled,
)
from runtime.executions.outbox import Outbox
from runtime.executions.spool import Replay, Spool
from tests.harness.ledger.desk import ACCOUNT, Desk, connect, make_ledger
from tests.harness.private_redis import PrivateRedis
from tests.harness.servers import (
    OLDEST,
    Server,
    ServerProgramMissing,
    free_ports,
    program,
    refuse_or_skip,
)


@pytest_asyncio.fixture
async def desk(private_redis: PrivateRedis) -> AsyncIterator[Desk]:
    """A ledger on a server of the test's own."""
    async with desk_on(private_redis.url) as desk:
        yield desk


@asynccontextmanager
async def desk_on(url: str) -> AsyncIterator[Desk]:
    client = connect(url)
    desk = Desk(client, "t", make_ledger(client, "t"))
    try:
        yield desk
    finally:
        await desk.ledger.drain()
        await client.aclose()
        await asyncio.sleep(0)


def settlement(attempt: ExecutionAttempt, reserved: Reserved) -> Settlement:
    return Settlement(
        attempt, 60, 100, reserved.reserved_at_ms, "1,0,0,1,0", "v1", outcome=b"the answer"
    )


async def end(outbox: Outbox, ending: Settlement | Release) -> object:
    return await outbox.close(ending, Deadline(asyncio.get_running_loop().time() + 10))


async def restore(desk: Desk, data: dict[bytes, bytes | None]) -> None:
    await desk.client.flushall()
    for name, value in data.items():
        await desk.client.restore(name, 0, value)


async def test_law_3c_what_is_owed_as_the_server_comes_back_empty_is_booked_once_it_has_its_data(
    desk: Desk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = Spool(tmp_path / "spool")
    outbox = Outbox(desk.ledger, spool)
    await desk.open(1_000)
    attempt, reserved = await desk.reserve(100)
    data = await desk.dump()
    await desk.client.flushall()

    assert await end(outbox, settlement(attempt, reserved)) is None
    for _ in range(2):
        with pytest.raises(AccountStopped, match=r"sequence \d+ was seen, found is no account"):
            await desk.ledger.reserve(desk.attempt(), 10, 1_000)
        assert await spool.replay(desk.ledger) == Replay(done=0, dead=0, left=1)
    with pytest.raises(AccountStopped):
        await desk.open()
    assert await desk.dump() == {}
    assert caplog.text.count("all its entries are lost. Restore") == 2, "by ledger and spool"

    await restore(desk, data)
    assert await spool.replay(desk.ledger) == Replay(done=1, dead=0, left=0)
    assert isinstance(await desk.ledger.settle(settlement(attempt, reserved)), Settled)
    balance = await desk.balance()
    assert (balance.charged_mc, balance.reserved_mc) == (60, 0)
    await desk.reserve(10)


async def test_law_3c_a_process_that_never_saw_the_account_keeps_what_is_owed_to_it(
    desk: Desk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = Spool(tmp_path / "spool")
    await desk.open(1_000)
    attempts = [await desk.reserve(100) for _ in range(3)]
    data = await desk.dump()
    await desk.client.flushall()
    other = make_ledger(desk.client, "t")
    outbox = Outbox(other, spool)

    for attempt, reserved in attempts[:2]:
        assert await end(outbox, settlement(attempt, reserved)) is None
    # The deadline of its reservation gives back what a plain release would.
    assert await end(outbox, Release(attempts[2][0])) is None
    for _ in range(3):
        assert await spool.replay(other) == Replay(done=0, dead=0, left=2)
    with pytest.raises(AccountUnknown):
        await other.settle(settlement(*attempts[0]))
    assert caplog.text.count("has Redis lost its data?") == 1

    await restore(desk, data)
    assert await spool.replay(other) == Replay(done=2, dead=0, left=0)
    assert (await desk.balance()).charged_mc == 120
    await other.drain()


async def test_law_3c_what_is_owed_is_given_up_when_it_is_too_old_and_then_it_is_said(
    desk: Desk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = Spool(tmp_path / "spool", max_age_ms=0)
    await spool.put(settlement(desk.attempt(), Reserved(100, 0, 1, 0)))
    assert await spool.replay(desk.ledger) == Replay(done=0, dead=1, left=0)
    assert caplog.text.count("is dead: older than") == 1


async def test_law_1a_a_server_without_its_installation_takes_no_new_work_of_any_account(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    await desk.ledger.check_installation()
    await desk.open(1_000)
    data = await desk.dump()
    await desk.client.flushall()
    for _ in range(2):
        await desk.ledger.watch.look()

    with pytest.raises(LedgerUnavailable, match="came back without its data"):
        await desk.ledger.reserve(desk.attempt(account_id="never-seen"), 10, 1_000)
    assert caplog.text.count("came back without its data") == 1

    await restore(desk, data)
    await desk.ledger.watch.look()
    await desk.reserve(10)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    """A primary, and a replica of it."""
    try:
        path = program(OLDEST)
    except ServerProgramMissing as error:
        refuse_or_skip(error)
        raise
    ports = free_ports(2)
    primary, replica = (
        Server(path, tmp_path / str(port), port, {"appendonly": kept})
        for port, kept in zip(ports, ("yes", "no"), strict=True)
    )
    primary.start()
    replica.start()
    yield primary, replica
    primary.stop()
    replica.stop()


def fail_over(primary: Server, replica: Server, tmp_path: Path) -> Server:
    """End the primary; return a server at its address with the data that the replica had."""
    replica.stop()
    primary.stop()
    promoted = Server(
        program(OLDEST), tmp_path / str(replica.port), primary.port, {"appendonly": "no"}
    )
    promoted.start()
    return promoted


async def test_law_1a_a_failover_to_a_lagging_replica_stops_the_account_until_it_is_accepted(
    servers: tuple[Server, Server], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    primary, replica = servers
    spool = Spool(tmp_path / "spool")
    async with desk_on(primary.url) as desk:
        outbox = Outbox(desk.ledger, spool)
        await desk.open(10_000)
        await desk.spend(50)
        replicate_and_part(primary, replica)
        for _ in range(20):
            await desk.spend(50)
        attempt, reserved = await desk.reserve(100)
        seen = (await desk.balance()).journal_seq
        promoted = fail_over(primary, replica, tmp_path)
        try:
            lost = f"sequence {seen} was seen, found is {seen - 20}: 20 entries are lost"
            with pytest.raises(AccountStopped, match=lost):
                await desk.ledger.reserve(desk.attempt(), 10, 1_000)
            assert await end(outbox, settlement(attempt, reserved)) is None
            assert spool.waiting() == 1
            assert caplog.text.count("20 entries are lost") >= 1

            operator = make_ledger(desk.client, "t")
            assert (await operator.accounts.balance(ACCOUNT)).charged_mc == 50
            await operator.repairs.accept_loss(ACCOUNT, reason="failover of 12 May", actor="ann")
            await operator.drain()

            assert await spool.replay(desk.ledger) == Replay(done=1, dead=0, left=0)
            await desk.spend(10)
            assert (await desk.balance()).charged_mc == 50 + 60 + 10
            journal = await desk.journal()
            verify(journal)
            repaired = next(entry for entry in journal if entry.kind is Kind.REPAIRED)
            assert (repaired.actor, repaired.detail[0], repaired.detail[2]) == (
                "ann",
                "loss",
                "failover of 12 May",
            )
            assert [e for e in journal if e.kind is Kind.SETTLED and "orphan" in e.flags]
        finally:
            promoted.stop()


async def test_law_1a_a_fork_is_noticed_though_others_have_written_more_by_then(
    servers: tuple[Server, Server], tmp_path: Path
) -> None:
    primary, replica = servers
    async with desk_on(primary.url) as desk:
        await desk.open(10_000)
        replicate_and_part(primary, replica)
        for _ in range(3):
            await desk.spend(50)
        promoted = fail_over(primary, replica, tmp_path)
        try:
            other = Desk(desk.client, "t", make_ledger(desk.client, "t"), numbers=desk.numbers)
            for _ in range(5):
                await other.spend(70)
            with pytest.raises(AccountStopped, match="another entry in its place"):
                await desk.ledger.reserve(desk.attempt(), 10, 1_000)
            assert (await other.balance()).reserved_mc == 0
            await other.ledger.drain()
        finally:
            promoted.stop()


def replicate_and_part(primary: Server, replica: Server) -> None:
    """Copy what the primary has to the replica, which then hears nothing more."""
    with Redis.from_url(replica.url) as follower, Redis.from_url(primary.url) as leader:
        follower.replicaof("127.0.0.1", primary.port)
        while follower.info("replication")["master_link_status"] != "up":
            time.sleep(0.02)
        while leader.wait(1, 100) < 1:
            pass
        follower.replicaof("NO", "ONE")
        follower.save()


async def test_law_1a_an_account_opened_again_under_its_name_is_not_taken_for_the_lost_one(
    desk: Desk,
) -> None:
    await desk.open(1_000)
    await desk.spend(10)
    await desk.client.flushall()
    operator = make_ledger(desk.client, "t")
    await operator.accounts.open_account(ACCOUNT, plan="growth")
    with pytest.raises(AccountStopped, match="another account of this name"):
        await desk.ledger.reserve(desk.attempt(), 10, 1_000)

    await operator.repairs.accept_loss(ACCOUNT, reason="no backup", actor="ann")
    await desk.grant(500)
    await desk.spend(10)
    await operator.drain()


async def test_law_1a_answers_heard_late_and_many_processes_raise_no_false_alarm(
    desk: Desk,
) -> None:
    await desk.open(100_000)
    others = [
        Desk(desk.client, "t", make_ledger(desk.client, "t"), numbers=desk.numbers)
        for _ in range(3)
    ]
    await asyncio.gather(*(each.spend(10) for each in (desk, *others) for _ in range(60)))
    assert (await desk.balance()).charged_mc == 2_400
    for other in others:
        await other.ledger.drain()
