"""The queue as commands use it: opened with the ledger, and read together with switches."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from runtime.campaigns.progress import Progress, progress_of
from runtime.cli.failures import refusals
from runtime.cli.ledger import run_async
from runtime.config import Config
from runtime.credits.accounts import Accounts
from runtime.credits.ledger import CreditLedger
from runtime.ledger_opening import at_end, connected, open_ledger
from runtime.queue.errors import CampaignUnknown
from runtime.queue.opening import build_queue
from runtime.queue.queue import RequestQueue
from runtime.redis.primaries import Client

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class OpenQueue:
    """A queue, and the ledger of the accounts whose campaigns wait in it."""

    queue: RequestQueue
    ledger: CreditLedger
    client: Client

    @property
    def accounts(self) -> Accounts:
        """The ledger's accounts."""
        return self.ledger.accounts

    async def progress(self, account_id: str, campaign_id: str) -> Progress:
        """Return how far a campaign is.

        Raises:
            AccountUnknown, CampaignUnknown, LedgerUnavailable, QueueUnavailable: as their parts.
        """
        switches = await self.accounts.switches(account_id)
        return progress_of(await self.queue.status(account_id, campaign_id), switches)

    async def campaigns(self, account_id: str) -> list[Progress]:
        """Return how far each campaign of an account is, in the order of their start."""
        switches = await self.accounts.switches(account_id)
        found = []
        for campaign_id in await self.queue.campaigns(account_id):
            try:
                found.append(await self.queue.status(account_id, campaign_id))
            except CampaignUnknown:  # it was erased meanwhile
                continue
        return [progress_of(status, switches) for status in found]

    async def change(self, account_id: str, campaign_id: str, change: str) -> None:
        """Pause, resume or stop a campaign.

        Raises:
            CampaignUnknown, QueueUnavailable: as ``RequestQueue``.
        """
        changes = {
            "pause": self.queue.pause,
            "resume": self.queue.resume,
            "stop": self.queue.stop,
        }
        await changes[change](account_id, campaign_id)


@asynccontextmanager
async def opened_queue(config: Config) -> AsyncIterator[OpenQueue]:
    """Open the configured queue and ledger.

    Raises:
        LedgerError, LedgerUnavailable: as ``open_ledger``.
    """
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(connected(config, None))
        ledger = await stack.enter_async_context(open_ledger(config, redis=client))
        queue = build_queue(config, client)
        at_end(stack, "closing the queue", queue.aclose)
        yield OpenQueue(queue, ledger, client)


def with_queue(config: Config, ask: Callable[[OpenQueue], Awaitable[_T]]) -> _T:
    """Open the configured queue, call ``ask`` with it, close it, and return the result.

    Raises:
        LedgerError, QueueError: the ledger or the queue refuses the call or can't be reached.
        BadInput: the input is not valid.
    """

    async def run() -> _T:
        async with opened_queue(config) as opened:
            with refusals():
                return await ask(opened)

    return run_async(run())
