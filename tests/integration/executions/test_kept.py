"""``kept`` tells the truth: what is kept comes again, and what is not starts afresh."""

from __future__ import annotations

import asyncio

import pytest

from fallback.reasons import FallbackReason
from runtime.credits.results import LedgerUnavailable
from tests.harness.executions.held import held
from tests.harness.private_redis import PrivateRedis
from tests.harness.workbench import OpenWorkbench, Workbench, action, reasons


@pytest.mark.parametrize("deadline_ms", [200, 30_000], ids=["no turn in time", "refused"])
async def test_an_account_that_was_never_opened_keeps_nothing(
    open_bench: OpenWorkbench, deadline_ms: int
) -> None:
    async with open_bench(max_concurrency=1) as bench:
        request = bench.request(
            action(limits={"deadline_ms": deadline_ms}), account_id="acme-2", person_id="p1"
        )
        async with bench.turns_taken(1 if deadline_ms == 200 else 0):
            first = await bench.run(request)
        await bench.runtime.accounts.open_account("acme-2", plan="growth")
        await bench.runtime.accounts.purchase("acme-2", credits=100_000, payment_reference="paid")

        again = await bench.run(
            bench.request(execution_id=request.execution_id, account_id="acme-2", person_id="p1")
        )

        assert reasons(first) == {FallbackReason.ACCOUNT_UNKNOWN}
        assert not first.kept
        assert (again.status, again.replayed, again.kept) == ("model", False, True)


async def test_law_3_an_answer_whose_account_is_gone_waits_in_the_spool_and_counts_as_kept(
    open_bench: OpenWorkbench,
) -> None:
    async with held(open_bench) as (bench, provider):
        running = asyncio.create_task(bench.execute())
        while not provider.calls:  # noqa: ASYNC110 - a counter tells nobody
            await asyncio.sleep(0.01)
        await bench.redis.delete(*[key async for key in bench.redis.scan_iter(account_keys(bench))])
        provider.answers.set()

        result = await running

        assert (result.status, result.kept) == ("model", True)
        assert result.charged_mc > 0
        assert bench.spool.waiting()


def account_keys(bench: Workbench) -> str:
    """The pattern of every key that an account or its bucket owns."""
    return f"{bench.keys.prefix}:{{b*"


async def test_without_redis_nothing_is_kept_but_what_the_spool_will_settle(
    open_bench: OpenWorkbench, private_redis: PrivateRedis
) -> None:
    async with open_bench(url=private_redis.url, latency_median_ms=1_000) as bench:
        spooled_request, refused_request = bench.request(), bench.request()
        running = asyncio.create_task(bench.run(spooled_request))
        await bench.until_reserved()
        await private_redis.stop()
        refused = await bench.run(refused_request)
        spooled = await running
        await private_redis.start()
        async with asyncio.timeout(10):
            while True:
                try:
                    if not (await bench.runtime.accounts.balance("acme")).reserved_mc:
                        break
                except LedgerUnavailable:
                    pass
                await asyncio.sleep(0.05)

        assert reasons(refused) == {FallbackReason.LEDGER_UNAVAILABLE}
        assert not refused.kept
        assert not (await bench.run(refused_request)).replayed
        assert spooled.status == "model"
        assert spooled.kept
        again = await bench.run(spooled_request)
        assert again.replayed
        assert (again.values, again.charged_mc) == (spooled.values, spooled.charged_mc)
