"""``creditgate migrate``: shows what an earlier release wrote, and upgrades it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from runtime.config import load_config
from runtime.processes.running import Running, exchange
from runtime.redis.client import open_client
from runtime.redis.keys import Keys
from tests.harness.command_line import Home

NAMES = ("acme", "globex", "initech")
OLDER = Running("0123456789abcdef", "a" * 12, 1_777_777_777_000, "worker-7")


async def asked(home: Home, *commands: tuple[Any, ...]) -> list[Any]:
    config = load_config(home.folder / "config.yaml")
    async with open_client(config.redis, config.data_dir) as client:
        return [await client.execute_command(*command) for command in commands]


def keys(home: Home) -> Keys:
    return Keys(load_config(home.folder / "config.yaml").redis.key_prefix)


@pytest.fixture
def older_home(home: Home) -> Home:
    """A home whose installation and accounts are as release 0.1 made them."""
    for name in NAMES:
        home.open_account(name, amount_mc=1_000)
    accounts = [keys(home).of_account(name)[0] for name in NAMES]
    asyncio.run(
        asked(
            home,
            ("HDEL", keys(home).installation, "schema"),
            *(("HSET", account, "schema", "1") for account in accounts),
        )
    )
    return home


def schemas(home: Home) -> set[bytes]:
    accounts = [keys(home).of_account(name)[0] for name in NAMES]
    return set(asyncio.run(asked(home, *(("HGET", name, "schema") for name in accounts))))


def test_it_tells_what_is_at_which_schema_and_changes_nothing(older_home: Home) -> None:
    told = older_home.invoke("migrate")
    assert told.status == 0
    assert "The installation has schema 1; this release reads 2." in told.stdout
    assert "schema 1: 3 accounts" in told.stdout
    assert "globex: has an earlier schema" in told.stdout
    assert "creditgate migrate --finish takes them to schema 2" in told.stdout

    found = older_home.invoke("migrate", "--json").json
    assert (found["schema"], found["newest"], found["accounts"]) == (1, 2, {"1": 3})
    assert sorted(found["older_accounts"]) == sorted(NAMES)
    assert (found["processes"], found["finished"]) == ({"running": 0, "older": 0}, False)
    assert schemas(older_home) == {b"1"}


def test_finish_upgrades_every_account_once(older_home: Home) -> None:
    before = older_home.balances(*NAMES)
    done = older_home.invoke("migrate", "--finish")
    assert (done.status, done.stdout) == (0, "Schema 2: 3 accounts upgraded.\n")
    assert schemas(older_home) == {b"2"}
    again = older_home.invoke("migrate", "--finish", "--json").json
    assert (again["upgraded"], again["left"], again["schema"]) == (0, {}, 2)
    assert "schema 2: 3 accounts" in older_home.invoke("migrate").stdout
    after = older_home.balances(*NAMES)
    assert [b.available_mc for b in after] == [b.available_mc for b in before]


def test_it_is_not_finished_while_an_older_process_runs_unless_it_is_forced(
    older_home: Home,
) -> None:
    async def register() -> None:
        config = load_config(older_home.folder / "config.yaml")
        async with open_client(config.redis, config.data_dir) as client:
            await exchange(client, keys(older_home), 5, OLDER.member)

    asyncio.run(register())
    assert "1 process (on worker-7) runs an earlier release." in older_home.invoke("migrate").stdout
    refused = older_home.invoke("migrate", "--finish")
    assert refused.status == 2
    assert "1 process (on worker-7) runs an earlier release, which would refuse" in refused.stderr
    assert schemas(older_home) == {b"1"}

    assert older_home.invoke("migrate", "--finish", "--force").status == 0
    assert schemas(older_home) == {b"2"}


def test_an_account_that_can_not_be_upgraded_is_named_and_the_status_says_so(
    older_home: Home,
) -> None:
    account = keys(older_home).of_account("globex")[0]
    asyncio.run(asked(older_home, ("HSET", account, "stopped", "a fork")))
    done = older_home.invoke("migrate", "--finish")
    assert done.status == 2
    upgraded, left, globex = done.stdout.splitlines()
    assert upgraded == "Schema 2: 2 accounts upgraded."
    assert left == "1 account could not be upgraded:"
    assert globex.startswith("  globex: account globex is stopped: a fork.")
    assert schemas(older_home) == {b"1", b"2"}


def test_data_of_a_newer_release_is_refused(older_home: Home) -> None:
    asyncio.run(asked(older_home, ("HSET", keys(older_home).installation, "schema", "3")))
    for args in (("migrate",), ("migrate", "--finish"), ("balance", "--account", "acme")):
        refused = older_home.invoke(*args)
        assert refused.status == 2
        assert "the data is of schema 3, this release reads up to 2: run the release" in (
            refused.stderr
        )
    assert schemas(older_home) == {b"1"}
