"""Leaving a runtime ends its background work, in bounded time, and loses nothing owed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from unittest.mock import create_autospec

import pytest
from redis.asyncio import BlockingConnectionPool, Redis

from creditgate import (
    ActionRuntime,
    Completion,
    CompletionRequest,
    FinishReason,
    TokenUsage,
    open_runtime,
)
from pricing.offers import GrantKind
from runtime import background
from runtime.bootstrap import open_ledger
from runtime.credits.identity import Identity
from runtime.credits.ledger import CreditLedger
from runtime.executions.outbox import Outbox
from runtime.executions.spool import Spool
from tests.harness.private_redis import PrivateRedis
from tests.harness.workbench import ACCOUNT, make_config, make_request

_TRIES = 4


class _Answers:
    """A provider that answers after a while."""

    async def complete(self, request: CompletionRequest) -> Completion:
        await asyncio.sleep(0.02)
        text = json.dumps({"intent": "card", "score": 1, "reply": "Hello."})
        return Completion(text, FinishReason.STOP, TokenUsage(10, 10))

    async def aclose(self) -> None:
        """Close nothing."""


async def _until_reserved(runtime: ActionRuntime, *, reserved: bool) -> None:
    """Wait until the account has reserved credits, or none."""
    while bool((await runtime.accounts.balance(ACCOUNT)).reserved_mc) is not reserved:  # noqa: ASYNC110 - Redis has no event to wait for
        await asyncio.sleep(0.002)


def _clients(url: str) -> dict[str, Redis]:
    """Clients as hosts make them, each with the time-outs that redis-py gives it."""
    pool = BlockingConnectionPool.from_url(url, max_connections=8, socket_timeout=3)
    return {
        "default": Redis.from_url(url),
        "without a time-out": Redis.from_url(url, socket_timeout=None),
        "decoding": Redis.from_url(url, decode_responses=True),
        "one connection": Redis.from_url(url, single_connection_client=True),
        "a pool that waits": Redis.from_pool(pool),
    }


@pytest.mark.parametrize(
    "kind",
    ["default", "without a time-out", "decoding", "one connection", "a pool that waits"],
)
async def test_a_runtime_on_the_hosts_own_client_ends_with_its_tasks_while_executions_are_cancelled(
    redis_url: str, key_prefix: str, tmp_path: Path, kind: str
) -> None:
    config = make_config(tmp_path, redis_url, key_prefix, "http://127.0.0.1:9/v1")
    before = asyncio.all_tasks()
    async with open_ledger(config) as ledger:
        await ledger.accounts.open_account(ACCOUNT, plan="growth")
        await ledger.accounts.grant(
            ACCOUNT, amount_mc=10_000_000, kind=GrantKind.PURCHASED, reference="r"
        )
    for _ in range(_TRIES):
        client = _clients(redis_url)[kind]
        async with asyncio.timeout(30):
            async with open_runtime(config, redis=client, provider=_Answers()) as runtime:
                await runtime.execute(make_request(1))
                running = [asyncio.create_task(runtime.execute(make_request(2))) for _ in range(8)]
                await asyncio.sleep(0.01)
                for task in running:
                    task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        await client.aclose()
        assert asyncio.all_tasks() == before
    async with open_ledger(config) as ledger:
        assert (await ledger.accounts.balance(ACCOUNT)).reserved_mc == 0


async def test_leaving_while_redis_is_frozen_takes_bounded_time_and_spools_what_is_owed(
    private_redis: PrivateRedis,
    key_prefix: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = make_config(
        tmp_path, private_redis.url, key_prefix, "http://127.0.0.1:9/v1", timeout_ms=300
    )
    client = Redis.from_url(private_redis.url)
    async with open_ledger(config) as ledger:
        await ledger.accounts.open_account(ACCOUNT, plan="growth")
        await ledger.accounts.grant(
            ACCOUNT, amount_mc=10_000_000, kind=GrantKind.PURCHASED, reference="r"
        )
    try:
        async with asyncio.timeout(20):
            async with open_runtime(config, redis=client, provider=_Answers()) as runtime:
                running = [asyncio.create_task(runtime.execute(make_request(n))) for n in range(8)]
                async with asyncio.timeout(5):
                    await _until_reserved(runtime, reserved=True)
                private_redis.pause()
                for task in running:
                    task.cancel()
                await asyncio.gather(*running, return_exceptions=True)
    finally:
        private_redis.resume()
    await client.aclose()

    owed = Spool(tmp_path / "spool", 3_600_000).waiting()
    assert owed > 0
    assert f"{owed} endings wait in the spool" in caplog.text
    async with open_runtime(config, provider=_Answers()) as runtime:
        async with asyncio.timeout(5):
            await _until_reserved(runtime, reserved=False)


async def test_endings_that_redis_has_not_taken_when_the_time_is_up_are_spooled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background, "CLOSE_WITHIN_S", 0.05)
    identity = Identity(b"k" * 32)
    spool = Spool(tmp_path / "spool", 3_600_000)
    ledger = create_autospec(CreditLedger, instance=True)

    async def never(*_: object) -> None:
        await asyncio.sleep(3_600)

    ledger.end.side_effect = never
    ledger.drain.side_effect = never
    outbox = Outbox(ledger, spool)
    for number in range(3):
        outbox.give_back(
            identity.attempt(
                account_id=ACCOUNT,
                execution_id=f"journey-{number}",
                workspace_id="retail",
                campaign_id="welcome",
                person_id="ann",
                action="route",
                source="live",
            )
        )
    async with asyncio.timeout(5):
        await outbox.aclose()

    assert spool.waiting() == 3
    assert "3 endings wait in the spool" in caplog.text
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_the_callers_own_cancellation_is_not_swallowed_by_the_closing(
    redis_url: str, key_prefix: str, tmp_path: Path
) -> None:
    config = make_config(tmp_path, redis_url, key_prefix, "http://127.0.0.1:9/v1")
    client = Redis.from_url(redis_url)
    before = asyncio.all_tasks()

    async def use() -> None:
        async with open_runtime(config, redis=client, provider=_Answers()):
            await asyncio.sleep(60)

    for delay_s in (0.0, 0.02, 0.05):
        using = asyncio.create_task(use())
        await asyncio.sleep(delay_s)
        using.cancel()
        with pytest.raises(asyncio.CancelledError):
            await using
    await client.aclose()
    assert asyncio.all_tasks() == before
