"""What is learned, on a real Redis: shared, bounded, and kept while Redis is away."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis, RedisCluster

from pricing.usage import TokenUsage
from runtime.learning.history import observed
from runtime.learning.sharing import MOST_ANSWERS, Learning, LearningUnavailable, Topic
from runtime.redis.keys import Keys
from tests.harness.private_redis import PrivateRedis
from tests.harness.servers import CLUSTER, LedgerServers

ROUTE = Topic("route", "v1", "writer")


def answer(tokens: int, times: int = 1) -> Counter[str]:
    added = observed(TokenUsage(100, tokens, 40), 110, 1_000, cut=False, charged=True)
    return Counter({name: value * times for name, value in added.items()})


@asynccontextmanager
async def learning(url: str, prefix: str) -> AsyncIterator[Learning]:
    async with Redis.from_url(url, socket_connect_timeout=1) as client:
        yield Learning(client, Keys(prefix), timeout_ms=1_000)


async def test_processes_add_up_what_each_of_them_saw(redis_url: str, key_prefix: str) -> None:
    async with learning(redis_url, key_prefix) as one, learning(redis_url, key_prefix) as other:
        one.note(ROUTE, answer(80, 40))
        other.note(ROUTE, answer(200, 20))
        await one.history(ROUTE)
        known = await other.history(ROUTE)

        assert (known.answers, known.charged) == (60, 60)
        assert known.counts["o"] == 40 * 80 + 20 * 200
        assert (other.output_tokens_to_reserve(ROUTE) or 0) >= 240
        assert one.output_tokens_to_reserve(ROUTE) is None, "it has not looked since"
        await one.history(ROUTE)
        assert (one.output_tokens_to_reserve(ROUTE) or 0) >= 240


async def test_versions_and_models_are_learned_apart(redis_url: str, key_prefix: str) -> None:
    async with learning(redis_url, key_prefix) as known:
        known.note(ROUTE, answer(80, 60))
        for other in (ROUTE._replace(version="v2"), ROUTE._replace(model_id="thinker")):
            assert (await known.history(other)).answers == 0


async def test_old_answers_fade_and_the_means_stay(redis_url: str, key_prefix: str) -> None:
    async with learning(redis_url, key_prefix) as known:
        known.note(ROUTE, answer(80, MOST_ANSWERS))
        assert (await known.history(ROUTE)).answers == MOST_ANSWERS
        known.note(ROUTE, answer(200, 2))
        half = await known.history(ROUTE)

        assert half.answers == MOST_ANSWERS // 2 + 1
        mean = half.counts["o"] / half.charged
        assert abs(mean - 80) < 1
        async with Redis.from_url(redis_url) as redis:
            key = Keys(key_prefix).learned(*ROUTE)
            assert int(await redis.ttl(key)) > 86_400
            assert int(await redis.memory_usage(key) or 0) < 10_000


async def test_what_hardly_anybody_uses_is_gone_after_a_day(
    redis_url: str, key_prefix: str
) -> None:
    async with learning(redis_url, key_prefix) as known:
        known.note(ROUTE, answer(80))
        await known.history(ROUTE)
        async with Redis.from_url(redis_url) as redis:
            assert 0 < int(await redis.ttl(Keys(key_prefix).learned(*ROUTE))) <= 86_400


async def test_a_damaged_history_is_named_and_stops_nobody(
    redis_url: str, key_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    key = Keys(key_prefix).learned(*ROUTE)
    async with Redis.from_url(redis_url) as redis:
        await redis.hset(key, "n", "many")
    async with learning(redis_url, key_prefix) as known:
        known.start()
        known.output_tokens_to_reserve(ROUTE)
        async with asyncio.timeout(10):
            while key not in caplog.text:  # noqa: ASYNC110 - a log has no event
                await asyncio.sleep(0.01)

        with pytest.raises(LearningUnavailable, match="not a count"):
            await known.history(ROUTE)
        await known.aclose()


@pytest.mark.parametrize(
    "field, value",
    [("n", "many"), ("o", "9007199254740992"), ("7", "-1"), ("n", "1.5"), ("o", "9" * 40)],
)
async def test_law_15_a_damaged_history_is_left_as_it_is_and_keeps_no_other_from_being_shared(
    redis_url: str, key_prefix: str, caplog: pytest.LogCaptureFixture, field: str, value: str
) -> None:
    key = Keys(key_prefix).learned(*ROUTE)
    async with Redis.from_url(redis_url) as redis, learning(redis_url, key_prefix) as known:
        await redis.hset(key, field, value)
        for _ in range(3):
            known.note(ROUTE, answer(80))
            known.note(ROUTE._replace(version="v2"), answer(80))
            await known.share()

        assert await redis.hgetall(key) == {field.encode(): value.encode()}
        assert len(caplog.records) == 1
        assert key in caplog.text
    async with learning(redis_url, key_prefix) as other:
        assert (await other.history(ROUTE._replace(version="v2"))).answers == 3


@pytest.mark.parametrize("make", ["SET", "fields"])
async def test_law_15_a_key_that_holds_no_history_keeps_no_other_from_being_shared(
    redis_url: str, key_prefix: str, make: str
) -> None:
    key = Keys(key_prefix).learned(*ROUTE)
    async with Redis.from_url(redis_url) as redis, learning(redis_url, key_prefix) as known:
        if make == "SET":
            await redis.set(key, "text")
        else:
            await redis.hset(key, mapping={f"field{number}": 1 for number in range(1_001)})
        known.note(ROUTE, answer(80))
        known.note(ROUTE._replace(version="v2"), answer(80))
        await known.share()

        with pytest.raises(LearningUnavailable, match=key):
            await known.history(ROUTE)
        assert (await known.history(ROUTE._replace(version="v2"))).answers == 1


async def test_law_15_foreign_fields_of_a_history_are_left_out(
    redis_url: str, key_prefix: str
) -> None:
    foreign: dict[str | bytes, int] = {
        "99999": 3,
        "\u00b2": 3,
        "7x": 3,
        b"\xff": 3,
        "": 3,
        "123456789": 3,
    }
    async with Redis.from_url(redis_url) as redis, learning(redis_url, key_prefix) as known:
        mapping: Any = foreign  # redis-py's type knows no mixture of text and bytes
        await redis.hset(Keys(key_prefix).learned(*ROUTE), mapping=mapping)
        known.note(ROUTE, answer(80, 60))

        assert (await known.history(ROUTE)).answers == 60
        assert (known.output_tokens_to_reserve(ROUTE) or 0) >= 80


async def test_law_15_reports_of_billions_of_tokens_are_counted_once_and_shared(
    redis_url: str, key_prefix: str
) -> None:
    absurd = observed(
        TokenUsage(4 * 10**9, 4 * 10**9), 4 * 10**9, 4 * 10**9, cut=False, charged=True
    )
    async with learning(redis_url, key_prefix) as known:
        for _ in range(100):
            known.note(ROUTE, absurd)
        await known.history(ROUTE)
        history = await known.history(ROUTE)

        assert (history.answers, history.charged) == (100, 100)


async def test_law_15_counts_that_grow_too_large_are_dropped_and_not_sent_again(
    redis_url: str, key_prefix: str
) -> None:
    async with learning(redis_url, key_prefix) as known:
        known.note(ROUTE, {"oo": 2**53})
        known.note(ROUTE._replace(version="v2"), answer(80))
        await known.share()

        known.note(ROUTE, answer(80))
        assert (await known.history(ROUTE)).answers == 1
        assert (await known.history(ROUTE._replace(version="v2"))).answers == 1


async def test_while_redis_is_away_what_is_known_stays_known_and_nothing_is_lost(
    private_redis: PrivateRedis, key_prefix: str
) -> None:
    async with learning(private_redis.url, key_prefix) as known:
        known.note(ROUTE, answer(80, 60))
        await known.share()
        before = known.output_tokens_to_reserve(ROUTE)
        await private_redis.stop()

        known.note(ROUTE, answer(80, 5))
        await known.share()
        assert known.output_tokens_to_reserve(ROUTE) == before is not None
        new = ROUTE._replace(version="v2")
        assert known.output_tokens_to_reserve(new) is None, "nothing known: the worst case"

        await private_redis.start()
        assert (await known.history(ROUTE)).answers == 65


@pytest.mark.long
async def test_a_cluster_shares_it_as_one_server_does(
    ledger_servers: LedgerServers, key_prefix: str
) -> None:
    url = ledger_servers.url(CLUSTER).removeprefix("cluster+")
    async with RedisCluster.from_url(url) as client:
        one, other = (Learning(client, Keys(key_prefix), timeout_ms=5_000) for _ in range(2))
        for version in ("v1", "v2", "v3"):
            topic = ROUTE._replace(version=version)
            one.note(topic, answer(80, 60))
            await one.history(topic)
            assert (await other.history(topic)).answers == 60
