"""Law 1 with real processes: 2,000 executions at once on a balance that pays for half of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from runtime.credits.results import Balance
from tests.harness.executions.processes import results_of, start_worker
from tests.harness.workbench import ACCOUNT, OpenWorkbench

PROCESSES = 4
EACH = 500
# About 430 mc an answer: 60 tokens in at 1 mc, some 37 out at 10 mc.
PAYS_FOR_HALF_MC = 430_000

CREDIT_REASONS = {"insufficient_credits", "execution_too_large", "credits_reserved_elsewhere"}


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_law_1_four_processes_never_overspend_one_account(
    open_bench: OpenWorkbench, redis_url: str, key_prefix: str, tmp_path: Path
) -> None:
    async with open_bench(credits_mc=PAYS_FOR_HALF_MC) as bench:
        ledger = bench.ledger
        base = f"{bench.mock.url}/v1"
        workers = await asyncio.gather(
            *[
                start_worker(
                    str(tmp_path / "data"), redis_url, key_prefix, base, f"p{n}", str(EACH)
                )
                for n in range(PROCESSES)
            ]
        )
        watched: list[Balance] = []

        async def watch() -> None:
            while True:
                watched.append(await ledger.accounts.balance(ACCOUNT))
                await asyncio.sleep(0.05)

        watching = asyncio.create_task(watch())
        results = [
            result for share in await asyncio.gather(*map(results_of, workers)) for result in share
        ]
        watching.cancel()

        assert len(results) == PROCESSES * EACH
        assert all(final for _, _, _, final in results)
        for balance in watched:
            assert balance.conserved
            assert balance.charged_mc + balance.reserved_mc <= balance.granted_mc
        assert any(balance.reserved_mc for balance in watched), "nothing was seen running"
        books = await bench.books()
        assert books.charged_mc == sum(charged for _, charged, _, _ in results)
        assert books.overage_mc == 0
        answered = [result for result in results if result[0] == "model"]
        assert PROCESSES * EACH * 0.35 < len(answered) < PROCESSES * EACH * 0.65
        assert await bench.calls() == len(answered)
        for status, charged, reasons, _ in results:
            if status != "model":
                assert charged == 0
                assert set(reasons) <= CREDIT_REASONS
