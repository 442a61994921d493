"""Law 5a while executions run: nothing is called later than a second after the switch."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from fallback.reasons import FallbackReason
from tests.harness.executions.failing_provider import failing_provider
from tests.harness.executions.processes import results_of, start_worker
from tests.harness.private_redis import PrivateRedis
from tests.harness.workbench import ACCOUNT, OpenWorkbench, action, reasons

PROCESSES = 4
EACH = 10
WITHIN_S = 1.0


def without_breaker(config: dict[str, Any]) -> None:
    config["endpoints"]["mock"]["breaker"] = {"failures": 1_000}


async def test_law_5a_a_retry_does_not_begin_once_it_is_switched_off(
    open_bench: OpenWorkbench,
) -> None:
    async with open_bench(scenario="status=429,retry_after=1.2") as bench:
        running = asyncio.create_task(bench.execute(action(limits={"attempts": 3})))
        other = asyncio.create_task(
            bench.execute(action(limits={"attempts": 2}), workspace_id="second")
        )
        await bench.until_reserved()
        switched = await bench.ledger.accounts.switch(ACCOUNT, off=True, workspace_id="retail")
        stopped, went_on = await running, await other

        assert switched.new
        assert (switched.open_executions, switched.open_mc) == (1, stopped.reserved_mc)
        assert reasons(stopped) == {FallbackReason.SWITCHED_OFF}
        assert not stopped.kept
        assert stopped.detail == "it was switched off meanwhile, so no further call was made"
        assert (len(stopped.attempts), len(went_on.attempts)) == (1, 2)
        books = await bench.books()
        assert (books.charged_mc, books.exposure_mc) == (0, 0)

        await bench.ledger.accounts.switch(ACCOUNT, off=False, workspace_id="retail")
        bench.mock.play("")
        again = await bench.run(bench.request(execution_id=stopped.execution_id))
        assert again.status == "model"


async def test_law_5a_with_redis_frozen_no_retry_begins_and_nothing_is_lost(
    open_bench: OpenWorkbench, private_redis: PrivateRedis
) -> None:
    async with open_bench(
        url=private_redis.url, scenario="status=429,retry_after=1.2", timeout_ms=300
    ) as bench:
        running = asyncio.create_task(bench.execute(action(limits={"attempts": 3})))
        async with asyncio.timeout(10):
            while not await bench.calls():  # noqa: ASYNC110 - the server's count
                await asyncio.sleep(0.01)
        private_redis.pause()
        try:
            stopped = await running
        finally:
            private_redis.resume()

        assert reasons(stopped) == {FallbackReason.LEDGER_UNAVAILABLE}
        assert not stopped.kept
        assert await bench.calls() == 1
        async with asyncio.timeout(20):
            while (await bench.ledger.accounts.balance(ACCOUNT)).reserved_mc:  # noqa: ASYNC110 - Redis
                await asyncio.sleep(0.05)
        assert (await bench.books()).exposure_mc == 0


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_law_5a_four_processes_begin_no_call_a_second_after_the_switch(
    open_bench: OpenWorkbench, redis_url: str, key_prefix: str, tmp_path: Path
) -> None:
    async with failing_provider() as provider, open_bench() as bench:
        workers = await asyncio.gather(
            *[
                start_worker(
                    str(tmp_path / "data"),
                    redis_url,
                    key_prefix,
                    provider.url,
                    f"p{n}",
                    str(EACH),
                    module="retrying_worker",
                )
                for n in range(PROCESSES)
            ]
        )
        running = [asyncio.create_task(results_of(worker)) for worker in workers]
        async with asyncio.timeout(120):
            while len(provider.arrivals) < 2 * PROCESSES * EACH:  # noqa: ASYNC110 - its log
                await asyncio.sleep(0.02)
        switched = await bench.ledger.accounts.switch(ACCOUNT, off=True, reason="the test")
        answered_s = time.monotonic()
        results = [result for share in await asyncio.gather(*running) for result in share]

        late = provider.since(answered_s)
        assert not late or late[-1] <= WITHIN_S, late[-5:]
        assert 0 < switched.open_executions <= PROCESSES * EACH
        assert switched.open_mc > 0
        assert len(results) == PROCESSES * EACH
        stopped = [result for result in results if result[2] == ["switched_off"]]
        assert len(stopped) > PROCESSES * EACH / 2
        assert not any(final for _, _, _, final in stopped)
        books = await bench.books()
        assert (books.charged_mc, books.available_mc) == (0, books.granted_mc)


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_law_5a_processes_begin_no_call_a_second_after_redis_has_frozen(
    open_bench: OpenWorkbench, private_redis: PrivateRedis, key_prefix: str, tmp_path: Path
) -> None:
    async with failing_provider() as provider, open_bench(url=private_redis.url):
        workers = await asyncio.gather(
            *[
                start_worker(
                    str(tmp_path / "data"),
                    private_redis.url,
                    key_prefix,
                    provider.url,
                    f"p{n}",
                    str(EACH),
                    module="retrying_worker",
                )
                for n in range(2)
            ]
        )
        running = [asyncio.create_task(results_of(worker)) for worker in workers]
        async with asyncio.timeout(120):
            while len(provider.arrivals) < 4 * EACH:  # noqa: ASYNC110 - its log
                await asyncio.sleep(0.02)
        private_redis.pause()
        frozen_s = time.monotonic()
        try:
            await asyncio.sleep(5)
            late = provider.since(frozen_s)
        finally:
            private_redis.resume()
        results = [result for share in await asyncio.gather(*running) for result in share]

        assert not late or late[-1] <= WITHIN_S, late[-5:]
        held = [result for result in results if result[2] == ["ledger_unavailable"]]
        assert len(held) > 2 * EACH / 2
        assert not any(final for _, _, _, final in held)
