"""The engine on real servers: a ticket is one, and comes back after an outage."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from redis import Redis

from runtime.config.sections import RedisSection, SentinelSection
from runtime.worker.engine import FunctionsMissing, OnTicket, TicketEngine
from tests.harness.sentinels import MASTER, SentinelGroup
from tests.harness.servers import (
    CLUSTER,
    CLUSTER_SCHEME,
    NEWER,
    LedgerServers,
    Server,
    program,
)
from tests.harness.workers import until


@asynccontextmanager
async def running(
    url: str, key_prefix: str, on_ticket: OnTicket, **more: Any
) -> AsyncIterator[TicketEngine]:
    is_cluster = url.startswith(CLUSTER_SCHEME)
    url = url.removeprefix(CLUSTER_SCHEME)
    section = RedisSection(url=url, cluster=is_cluster, key_prefix=key_prefix)
    section = section.model_copy(update=more)
    engine = TicketEngine(section, url, 4, on_ticket)
    engine.start()
    try:
        yield engine
    finally:
        await engine.aclose()


@pytest.mark.parametrize("kind", [NEWER, CLUSTER])
async def test_a_ticket_is_one_however_often_it_is_issued_and_is_followed_by_what_it_names(
    ledger_servers: LedgerServers, key_prefix: str, kind: str
) -> None:
    ran: Counter[str] = Counter()
    goes_on = asyncio.Event()

    async def run(ticket: str) -> Iterable[str]:
        ran[ticket] += 1
        await goes_on.wait()
        return [ticket] if ran[ticket] < 5 else []

    async with running(ledger_servers.url(kind), key_prefix, run) as engine:
        await until(lambda: engine.is_connected)
        for _ in range(3):
            await engine.issue(["acme#0", "shop#0"])
        await until(lambda: len(ran) == 2)
        await engine.issue(["acme#0"])
        goes_on.set()
        await until(lambda: sum(ran.values()) == 10)
        await asyncio.sleep(0.2)
        assert ran == {"acme#0": 5, "shop#0": 5}
        assert await engine.waiting() == 0


async def test_tickets_that_no_slot_is_free_for_are_seen_to_wait(
    ledger_servers: LedgerServers, key_prefix: str
) -> None:
    goes_on = asyncio.Event()

    async def run(ticket: str) -> Iterable[str]:
        await goes_on.wait()
        return ()

    async with running(ledger_servers.url(NEWER), key_prefix, run) as engine:
        await until(lambda: engine.is_connected)
        await engine.issue(f"account-{number}#0" for number in range(12))
        # Four run, and one is taken ahead.
        await until(lambda: _equals(engine.waiting(), 7))
        goes_on.set()
        await until(lambda: _equals(engine.waiting(), 0))


async def _equals(found: Any, number: int) -> bool:
    return bool(await found == number)


async def test_after_an_outage_of_redis_tickets_are_issued_and_run_again(
    tmp_path: Path, key_prefix: str
) -> None:
    server = Server(program(NEWER), tmp_path / "redis")
    server.start()
    ran: Counter[str] = Counter()

    async def run(ticket: str) -> Iterable[str]:
        ran[ticket] += 1
        return ()

    try:
        async with running(server.url, key_prefix, run) as engine:
            await until(lambda: engine.is_connected)
            server.stop()
            await until(lambda: not engine.is_connected)
            await engine.issue(["lost#0"])
            await asyncio.to_thread(server.start)
            await until(lambda: engine.is_connected)
            await engine.issue(["acme#0"])
            await until(lambda: ran == {"acme#0": 1})
    finally:
        server.stop()


async def test_a_user_without_the_engines_keys_is_told_which_ones(
    tmp_path: Path, key_prefix: str
) -> None:
    server = Server(program(NEWER), tmp_path / "redis")
    server.start()

    async def run(ticket: str) -> Iterable[str]:
        return ()

    try:
        with Redis.from_url(server.url) as admin:
            rules = ("on", ">secret", f"~{key_prefix}:*", "&*", "+@all")
            admin.execute_command("ACL", "SETUSER", "narrow", *rules)
            rules = (*rules, "~streaq:*")
            admin.execute_command("ACL", "SETUSER", "wide", *rules)
        password = SecretStr("secret")
        narrow = {"username": "narrow", "password": password}
        async with running(server.url, key_prefix, run, **narrow) as engine:
            with pytest.raises(FunctionsMissing, match=r"streaq:\*"):
                await asyncio.wait_for(engine.failed(), 20)
        wide = {"username": "wide", "password": password}
        async with running(server.url, key_prefix, run, **wide) as engine:
            await until(lambda: engine.is_connected)
    finally:
        server.stop()


@pytest.mark.long
async def test_behind_sentinels_tickets_are_issued_at_the_new_primary_after_a_failover(
    tmp_path: Path, key_prefix: str
) -> None:
    group = SentinelGroup(tmp_path, replicas=1, kind=NEWER, password="secret")
    await asyncio.to_thread(group.start)
    ran: Counter[str] = Counter()

    async def run(ticket: str) -> Iterable[str]:
        ran[ticket] += 1
        return ()

    sentinel = SentinelSection(master=MASTER, nodes=group.nodes)
    password = SecretStr("secret")
    more = {
        "sentinel": sentinel.model_copy(update={"password": password}),
        "password": password,
    }
    try:
        async with running("redis://unused", key_prefix, run, **more) as engine:
            await until(lambda: engine.is_connected)
            await engine.issue(["acme#0"])
            await until(lambda: ran["acme#0"] == 1)
            await asyncio.to_thread(group.fail_over)
            await until(lambda: _runs_again(engine, ran))
    finally:
        await asyncio.to_thread(group.stop)


async def _runs_again(engine: TicketEngine, ran: Counter[str]) -> bool:
    await engine.issue(["shop#0"])
    await asyncio.sleep(0.2)
    return ran["shop#0"] > 0
