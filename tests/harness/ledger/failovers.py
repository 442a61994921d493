"""A ledger behind sentinels: as a process has it, under load while the primary is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.config.sections import RedisSection
from runtime.credits.journal import Kind, Part, verify
from runtime.redis.client import open_client
from tests.harness.ledger.desk import Desk, make_ledger
from tests.harness.ledger.shards import PROGRESS_WITHIN_S, Campaign, once_available, until_charged
from tests.harness.sentinels import MASTER, SentinelGroup

TIMEOUT_MS = 4_000
"""A machine may stall for seconds; a server that is frozen on purpose costs each caller as long."""


def section_of(group: SentinelGroup, **changes: Any) -> RedisSection:
    """The ``redis`` section of a configuration that names the group."""
    sentinel = {"master": MASTER, "nodes": group.nodes, **changes.pop("sentinel", {})}
    return RedisSection.model_validate(
        {"sentinel": sentinel, "timeout_ms": TIMEOUT_MS, "max_connections": 16, **changes}
    )


@asynccontextmanager
async def open_desk(section: RedisSection, prefix: str, **settings: Any) -> AsyncIterator[Desk]:
    """A ledger as a process of its own has it, by the servers' clocks."""
    async with open_client(section, Path()) as client:
        ledger = make_ledger(client, prefix, timeout_ms=section.timeout_ms, **settings)
        try:
            await once_available(ledger.check_installation)
            yield Desk(client, prefix, ledger)
        finally:
            await ledger.drain()


@dataclass
class Load:
    """Campaigns of some processes on one account, and what became of their charges."""

    campaigns: list[Campaign] = field(default_factory=list)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run them until the block ends, and then until each has charged what it owes."""
        running = asyncio.gather(*(campaign.run() for campaign in self.campaigns))
        try:
            yield
        finally:
            for campaign in self.campaigns:
                campaign.over = True
            await running

    async def until_charged(self, more: int) -> None:
        """Wait until callers were told of so many more charges, however long it takes."""
        await until_charged(self.campaigns, more)

    async def until_nothing_waits(self) -> None:
        """Wait until nothing is in the spools: it is replayed meanwhile."""
        async with asyncio.timeout(PROGRESS_WITHIN_S):
            while any(campaign.spool.waiting() for campaign in self.campaigns):  # noqa: ASYNC110 - a folder tells nobody
                await asyncio.sleep(0.05)

    async def aclose(self) -> None:
        """Stop replaying the spools."""
        for campaign in self.campaigns:
            await campaign.outbox.aclose()

    @property
    def costs(self) -> dict[str, int]:
        """What each execution costs that was answered."""
        return self._joined(lambda campaign: campaign.costs)

    @property
    def acknowledged(self) -> dict[str, int]:
        """What callers were told is charged."""
        return self._joined(lambda campaign: campaign.acknowledged)

    def _joined(self, part: Callable[[Campaign], dict[str, int]]) -> dict[str, int]:
        return {key: cost for campaign in self.campaigns for key, cost in part(campaign).items()}


async def charged_once(desk: Desk, account_id: str) -> dict[str, int]:
    """What each execution was charged, after the checks that hold whatever was lost.

    The chain of the journal is whole, nothing is charged twice, and the balance conserves and is
    the journal's.
    """
    balance = await once_available(lambda: desk.balance(account_id))
    entries = await desk.journal(account_id)
    verify(entries)
    settled = [entry for entry in entries if entry.kind is Kind.SETTLED]
    charged: dict[str, int] = {}
    for entry in settled:
        assert entry.execution_key not in charged, "charged twice"
        charged[entry.execution_key] = sum(
            posting.amount_mc for posting in entry.postings if posting.target is Part.CHARGED
        )
    assert balance.conserved
    assert balance.charged_mc == sum(charged.values())
    return charged
