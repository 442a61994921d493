"""Campaign workers on real parts: a real Redis, the mock provider, and a queue to fill."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pricing.offers import GrantKind
from providers.mock.options import MockOptions
from providers.mock.server import MockServer, start
from runtime.config import Config
from runtime.credits.ledger import CreditLedger
from runtime.ledger_opening import connected, open_ledger
from runtime.queue.entries import CampaignStatus, Ended
from runtime.queue.opening import build_queue
from runtime.queue.queue import RequestQueue
from runtime.worker.opening import OpenWorker, open_worker
from tests.harness.queues import request_of
from tests.harness.workbench import ACCOUNT, OUTPUTS, Change, make_config

ACTION = "route"
CAMPAIGN = "welcome"
_PATIENCE_S = 30.0

OpenCrew = Callable[..., AbstractAsyncContextManager["Crew"]]


@dataclass
class Crew:
    """Workers of this process, the queue that they work on, and what it has cost."""

    config: Config
    mock: MockServer
    queue: RequestQueue
    ledger: CreditLedger
    ended: list[Ended] = field(default_factory=list)

    async def open_account(self, account_id: str = ACCOUNT, amount_mc: int = 100_000_000) -> None:
        """Open an account on a paid plan, and give it credits."""
        accounts = self.ledger.accounts
        await accounts.open_account(account_id, plan="growth")
        await accounts.grant(
            account_id, amount_mc=amount_mc, kind=GrantKind.PROMOTIONAL, reference="start"
        )

    async def add(
        self, count: int, account_id: str = ACCOUNT, campaign_id: str = CAMPAIGN, **changes: Any
    ) -> None:
        """Put so many people into a campaign's queue."""
        for first in range(0, count, 500):
            requests = [
                request_of(f"{campaign_id}-{number}", campaign_id, account_id=account_id, **changes)
                for number in range(first, min(first + 500, count))
            ]
            await self.queue.add(account_id, "retail", campaign_id, requests)

    async def status(
        self, account_id: str = ACCOUNT, campaign_id: str = CAMPAIGN
    ) -> CampaignStatus:
        """Return a campaign's figures."""
        return await self.queue.status(account_id, campaign_id)

    @asynccontextmanager
    async def worker(self, **how: Any) -> AsyncIterator[OpenWorker]:
        """Run a worker in the block, and stop it gently at its end."""
        async with open_worker(self.config, on_end=self.ended.append, **how) as opened:
            running = asyncio.create_task(opened.run())
            try:
                yield opened
            finally:
                opened.worker.stop()
                await running

    async def drain(self, **how: Any) -> OpenWorker:
        """Run a worker until nothing waits any more, or it gives up; return it, closed."""
        async with open_worker(self.config, drains=True, on_end=self.ended.append, **how) as opened:
            await opened.run()
            return opened


async def until(is_so: Callable[[], Any]) -> None:
    """Wait until something is so; it may be a coroutine function."""
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            found = is_so()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            await asyncio.sleep(0.02)


@asynccontextmanager
async def open_crew(
    data_dir: Path,
    redis_url: str,
    key_prefix: str,
    change: Change = lambda config: None,
    mock_options: MockOptions | None = None,
    **how: Any,
) -> AsyncIterator[Crew]:
    """Open a queue on a configuration with one action; ``how`` is as ``make_config`` has it."""

    def with_action(config: dict[str, Any]) -> None:
        config["actions"] = {
            ACTION: {
                "model": "writer",
                "user": "{{ customer.message }}",
                "outputs": OUTPUTS,
                "limits": {"max_output_tokens": 120, "deadline_ms": 10_000, "attempts": 1},
            }
        }
        config["worker"] = {"slice_size": 16}
        change(config)

    mock = await start(mock_options or MockOptions(latency_median_ms=5))
    try:
        config = make_config(
            data_dir, redis_url, key_prefix, f"{mock.url}/v1", change=with_action, **how
        )
        async with connected(config, None) as client, open_ledger(config, redis=client) as ledger:
            queue = build_queue(config, client)
            crew = Crew(config, mock, queue, ledger)
            await crew.open_account()
            yield crew
            await queue.aclose()
    finally:
        with suppress(OSError):
            await mock.aclose()
