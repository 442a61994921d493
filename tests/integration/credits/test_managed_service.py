"""A managed service: no CONFIG, no INFO, and a user with only the commands that are documented."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from runtime.config import parse_config
from runtime.credits.caps import Cap, CapWindow
from runtime.credits.durability import Durability
from runtime.credits.endings import Release
from runtime.credits.results import LedgerError
from runtime.ledger_opening import open_ledger
from tests.harness.archives import archive
from tests.harness.ledger.desk import ACCOUNT, INSTALLATION_KEY, Desk, connect, make_ledger
from tests.harness.paths import ROOT
from tests.harness.servers import (
    NEWER,
    OLDEST,
    Server,
    ServerProgramMissing,
    free_ports,
    program,
    refuse_or_skip,
)

USER, PASSWORD = "creditgate", "a-password-of-its-own"
ALL = ["version", "maxmemory_policy", "memory", "append_only", "replicas"]


def documented_commands() -> list[str]:
    """The commands that the page for operators tells a service to allow."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    found = re.search(r"ACL SETUSER creditgate on >PASSWORD ~cg1:\* (.*)\n", text)
    assert found
    return found[1].split()


@pytest.fixture(scope="module", params=[OLDEST, pytest.param(NEWER, marks=pytest.mark.long)])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server whose user may do what is documented, under keys of its own, and no more."""
    try:
        path = program(request.param)
    except ServerProgramMissing as error:
        refuse_or_skip(error)
        raise
    made = Server(path, tmp_path_factory.mktemp("managed"), free_ports(1)[0])
    made.start()
    with Redis.from_url(made.url) as admin:
        rules = ["on", f">{PASSWORD}", "~cg1:*", *documented_commands()]
        admin.execute_command("ACL", "SETUSER", USER, *rules)
    yield made
    made.stop()


@asynccontextmanager
async def open_desk(server: Server, **settings: Any) -> AsyncIterator[Desk]:
    """A ledger as the service's user has it."""
    async with connect(server.url, username=USER, password=PASSWORD) as client:
        ledger = make_ledger(client, "cg1", **settings)
        await ledger.check_installation()
        yield Desk(client, "cg1", ledger)
        await ledger.drain()


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


async def test_the_ledger_does_all_that_it_does_elsewhere(server: Server, tmp_path: Path) -> None:
    async with open_desk(server) as desk:
        await desk.open(10_000, 500)
        await desk.ledger.accounts.set_cap(
            ACCOUNT, Cap(CapWindow.DAY), limit_mc=5_000, reference="cap"
        )
        await desk.spend(100)
        kept, _ = await desk.reserve(200)
        await desk.ledger.release(Release(kept))
        await desk.reserve(300, ttl_ms=1)
        await asyncio.sleep(0.01)
        assert await desk.ledger.sweep() == 1
        balance = await desk.balance()
        assert (balance.charged_mc, balance.reserved_mc) == (100, 0)
        await archive(desk, tmp_path / "archive.db")
        assert await desk.journal() == [], "what is archived is trimmed"


async def test_what_the_service_hides_is_said_once_each_unless_it_is_vouched_for(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with open_desk(server, durability=Durability.FSYNC) as desk:
        await desk.ledger.watch.look()
    hidden = {"version", "maxmemory_policy", "memory", "append_only"}
    assert len(warnings_in(caplog)) == len(hidden)
    for name in hidden:
        assert sum(f"name {name} under redis.assume" in each for each in warnings_in(caplog)) == 1

    caplog.clear()
    async with open_desk(server, durability=Durability.FSYNC, assume=frozenset(hidden)) as desk:
        await desk.ledger.watch.look()
    assert not warnings_in(caplog)
    for name in hidden:
        assert f"redis.assume has {name}" in caplog.text


async def test_replicated_without_wait_is_refused_at_start_and_with_it_believed(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    replicated = Durability.REPLICATED
    with pytest.raises(LedgerError, match="does not let this user run WAIT"):
        async with open_desk(server, durability=replicated):
            pass
    with Redis.from_url(server.url) as admin:
        admin.execute_command("ACL", "SETUSER", USER, "+wait")
    try:
        async with open_desk(server, durability=replicated):
            pass
    finally:
        with Redis.from_url(server.url) as admin:
            admin.execute_command("ACL", "SETUSER", USER, "-wait")
    assert "does not tell how many replicas it has: 1 and min-replicas-to-write" in caplog.text


async def test_the_configured_assumptions_are_the_ledgers(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    redis = {"url": server.url, "username": USER, "password": {"env": "PASSWORD"}, "assume": ALL}
    written = {
        "version": 1,
        "data_dir": str(tmp_path / "data"),
        "installation_key": {"env": "KEY"},
        "redis": redis,
        "plans": {"growth": {"ai_credits": True}},
    }
    environ = {"PASSWORD": PASSWORD, "KEY": INSTALLATION_KEY.decode()}
    config = parse_config(json.dumps(written), base_dir=tmp_path, environ=environ)
    async with open_ledger(config) as ledger:
        await ledger.accounts.open_account("configured", plan="growth")
    assert not warnings_in(caplog)


async def test_a_service_that_renamed_its_commands_is_treated_alike(tmp_path: Path) -> None:
    try:
        path = program(OLDEST)
    except ServerProgramMissing as error:
        refuse_or_skip(error)
        raise
    renamed = Server(path, tmp_path / "renamed", free_ports(1)[0], renamed=("CONFIG", "INFO"))
    renamed.start()
    try:
        client = connect(renamed.url)
        ledger = make_ledger(client, "t")
        await ledger.check_installation()
        desk = Desk(client, "t", ledger)
        await desk.open(1_000)
        await desk.spend(10)
        assert (await desk.balance()).charged_mc == 10
        await ledger.drain()
        await client.aclose()
    finally:
        renamed.stop()
