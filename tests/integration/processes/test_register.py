"""Each process writes which configuration it runs, and a difference that lasts is logged."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from runtime.config.version import config_version
from runtime.credits.schema import NEWEST
from runtime.processes import register as module
from runtime.processes.register import Register
from runtime.processes.running import (
    LONGEST_BYTES,
    MOST_PROCESSES,
    SILENT_AFTER_MS,
    Running,
    exchange,
    exchange_schemas,
    other_versions,
)
from runtime.redis.keys import Keys
from tests.harness.ledger.desk import connect
from tests.harness.private_redis import PrivateRedis
from tests.harness.servers import CLUSTER, OLDEST, LedgerServers
from tests.harness.workbench import OpenWorkbench, make_config

OLD, NEW = "a" * 12, "b" * 12
TIMEOUT_MS = 5_000


@pytest_asyncio.fixture(params=[OLDEST, CLUSTER])
async def client(
    request: pytest.FixtureRequest, ledger_servers: LedgerServers
) -> AsyncIterator[Any]:
    found = connect(ledger_servers.url(request.param))
    yield found
    await found.aclose()


@pytest.fixture
def keys(key_prefix: str) -> Keys:
    return Keys(key_prefix)


def process(client: Any, keys: Keys, version: str) -> Register:
    return Register(client, keys, TIMEOUT_MS, version, NEWEST)


async def versions(client: Any, keys: Keys) -> list[str]:
    return sorted(one.version for one in await exchange(client, keys, TIMEOUT_MS / 1000))


async def listed(client: Any, keys: Keys, expected: list[str]) -> None:
    """Wait until these versions are listed."""
    for _ in range(1_000):
        if await versions(client, keys) == expected:
            return
        await asyncio.sleep(0.01)
    assert await versions(client, keys) == expected


async def test_a_process_is_listed_from_its_start_to_its_end(client: Any, keys: Keys) -> None:
    first, second = process(client, keys, OLD), process(client, keys, NEW)
    for one in (first, second):
        await one.beat()
        await one.beat()
    assert await versions(client, keys) == [OLD, NEW]
    await first.aclose()
    assert await versions(client, keys) == [NEW]
    await second.aclose()
    assert await client.exists(keys.processes()) == 0


async def test_each_process_tells_the_schema_that_it_reads(client: Any, keys: Keys) -> None:
    one = process(client, keys, OLD)
    await one.beat()
    (running,) = await exchange(client, keys, TIMEOUT_MS / 1000)
    read = await exchange_schemas(client, keys, TIMEOUT_MS / 1000)
    assert read == {running.process: NEWEST}
    await client.zadd(keys.schemas(), {"not one": 2**52, f"{running.process} 99999999": 2**52})
    assert await exchange_schemas(client, keys, TIMEOUT_MS / 1000) == read
    await one.aclose()
    assert await exchange_schemas(client, keys, TIMEOUT_MS / 1000) == {}


async def test_a_reload_is_told_at_once(client: Any, keys: Keys) -> None:
    one = process(client, keys, OLD)
    await one.beat()
    one.change(NEW)
    await listed(client, keys, [NEW])
    await one.aclose()
    assert await versions(client, keys) == []


async def test_a_process_that_falls_silent_is_forgotten(client: Any, keys: Keys) -> None:
    killed, later = process(client, keys, OLD), process(client, keys, NEW)
    await killed.beat()
    [member] = await client.zrange(keys.processes(), 0, -1)
    ago_ms = SILENT_AFTER_MS + 1_000
    await client.zincrby(keys.processes(), -ago_ms, member)
    assert await versions(client, keys) == []
    await client.zadd(keys.processes(), {"clock put back": 9e15})
    await later.beat()
    assert await client.zcard(keys.processes()) == 1
    assert 0 < await client.pttl(keys.processes()) <= SILENT_AFTER_MS


async def test_law_15_foreign_and_huge_records_are_not_read(client: Any, keys: Keys) -> None:
    one = process(client, keys, OLD)
    await one.beat()
    [(_, now_ms)] = await client.zrange(keys.processes(), 0, -1, withscores=True)
    good = Running("0" * 16, NEW, 1, "host").member
    foreign = [
        "",
        "{}",
        b"\xff\x00",
        f"{good} more",
        good.replace("host", "h" * 65),
        good.replace(" 1 ", " " + "9" * 16 + " "),
        good.replace("host", "\x1b[2J"),
        "x" * (LONGEST_BYTES + 1),
        "x" * 1_000_000,
    ]
    await client.zadd(keys.processes(), dict.fromkeys([*foreign, good], now_ms))
    assert await versions(client, keys) == [OLD, NEW]


async def test_law_15_no_more_processes_are_kept_than_the_bound(client: Any, keys: Keys) -> None:
    one = process(client, keys, OLD)
    await one.beat()
    [(_, now_ms)] = await client.zrange(keys.processes(), 0, -1, withscores=True)
    crowd = {
        Running(f"{n:016x}", NEW, 1, "h" * 64).member: now_ms - 1 for n in range(2 * MOST_PROCESSES)
    }
    await client.zadd(keys.processes(), crowd)
    assert len(await versions(client, keys)) == MOST_PROCESSES
    await one.beat()
    found = await versions(client, keys)
    assert len(found) == MOST_PROCESSES
    assert found[0] == OLD
    assert await client.zcard(keys.processes()) == MOST_PROCESSES


@pytest.mark.parametrize("is_away", [False, True])
async def test_a_wrong_key_and_an_outage_only_keep_it_silent(
    private_redis: PrivateRedis, keys: Keys, is_away: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with Redis.from_url(private_redis.url) as client:
        await client.set(keys.processes(), "a text")
        one = Register(client, keys, 500, OLD, NEWEST)
        if is_away:
            await private_redis.aclose()
        await one.beat()
        await one.aclose()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_difference_is_logged_once_when_it_has_lasted(
    client: Any, keys: Keys, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Clock:
        now_s = 0.0
        time = staticmethod(lambda: 1_800_000_000.0)

        @classmethod
        def monotonic(cls) -> float:
            return cls.now_s

    monkeypatch.setattr(module, "time", Clock)
    old, new, same = (process(client, keys, version) for version in (OLD, NEW, NEW))

    async def warnings_at(now_s: float) -> list[str]:
        Clock.now_s = now_s
        caplog.clear()
        await new.beat()
        return [record.getMessage() for record in caplog.records]

    for one in (old, same):
        await one.beat()
    assert await warnings_at(0) == []
    assert await warnings_at(119) == []
    [told] = await warnings_at(121)
    assert told.startswith(f"1 process runs configuration {OLD} (on ")
    assert f"this process {NEW}" in told
    assert await warnings_at(500) == []


async def test_a_difference_that_ended_meanwhile_is_none(
    client: Any, keys: Keys, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "LASTING_S", 0.2)
    old, new = process(client, keys, OLD), process(client, keys, NEW)
    await old.beat()
    await new.beat()
    await old.aclose()
    await new.beat()
    await asyncio.sleep(0.25)
    again = process(client, keys, OLD)
    await again.beat()
    await new.beat()
    assert caplog.records == []


def test_versions_of_others_are_counted() -> None:
    running = [Running(f"{n:016x}", OLD, 5 - n, f"web-{n}") for n in range(5)]
    running.append(Running("f" * 16, NEW, 1, "web-9"))
    [other] = other_versions(running, NEW)
    assert (other.version, other.processes, other.since_ms) == (OLD, 5, 1)
    assert other.text == (f"5 processes run configuration {OLD} (on web-0, web-1, web-2, ...)")
    assert other_versions(running[:5], OLD) == []


async def test_a_runtime_is_listed_while_it_is_open_with_the_version_that_it_runs(
    open_bench: OpenWorkbench,
) -> None:
    def dearer(config: dict[str, Any]) -> None:
        config["rate_cards"][0]["version"] = "dearer"

    async with open_bench() as bench, Redis.from_url(bench.config.redis.url) as redis:
        await listed(redis, bench.keys, [config_version(bench.config)])
        before = bench.config
        after = make_config(
            before.data_dir,
            before.redis.url,
            before.redis.key_prefix,
            str(before.endpoints["mock"].api_base),
            change=dearer,
        )
        await bench.runtime.reload(after)
        await listed(redis, bench.keys, [config_version(after)])
        assert config_version(after) != config_version(before)
        keys = bench.keys
        stored = json.dumps([str(one) for one in await redis.zrange(keys.processes(), 0, -1)])
        assert "mock" not in stored
