"""The stage of the ledger's benchmarks: a private Redis, and accounts as they are in use."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis

from pricing.offers import GrantKind
from pricing.usage import TokenUsage
from runtime.credits.caps import Cap, CapWindow
from runtime.credits.endings import Settlement
from runtime.credits.identity import ExecutionAttempt, Identity
from runtime.credits.journal import tokens_column
from runtime.credits.ledger import Commerce, CreditLedger, LedgerSettings
from runtime.credits.results import Reserved, Settled
from runtime.redis.embedded import EmbeddedRedis
from runtime.redis.keys import Keys
from tests.bench.stage import describe_redis

ACCOUNT = "acme-retail"
CALLERS = 512
CONNECTIONS = 32
OPEN_GRANTS = 3
RESERVED_MC = 5_000
COST_MC = 3_200
TTL_MS = 3_600_000
TOKENS = tokens_column(TokenUsage(input_tokens=470, output_tokens=30))
RATE_CARD = "2026-04-01"
OUTCOME = (
    b'{"intent":"card","urgency":"high","reply":"We look into it today, and write to you by noon."}'
).ljust(100)

GRANT_MC = 10**12
CAP_LIMIT_MC = 10**15
WORKSPACE = "retail-eu1"

_PLAN = "growth"
_CAP = Cap(CapWindow.MONTH, workspace_id=WORKSPACE)
_CAMPAIGNS = 12
_ACTIONS = ("route-mail", "draft-text", "rate-offer", "pick-image", "find-topic")
_KINDS = (GrantKind.INTRODUCTORY, GrantKind.PLAN, GrantKind.PURCHASED)
_POOL_TIMEOUT_S = 60.0
_SETTLING_S = 1.5


@dataclass(frozen=True, slots=True)
class LedgerStage:
    """A ledger on a server that nobody else uses."""

    ledger: CreditLedger
    client: Any  # redis-py's types are unions of all that a setting could make of an answer
    plain_client: Any
    server: str
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    async def open_account(self, account_id: str = ACCOUNT, *, grants: int = OPEN_GRANTS) -> None:
        """Open an account with so many open grants, and one cap on its workspace."""
        await self.ledger.accounts.open_account(account_id, plan=_PLAN)
        for number in range(grants):
            kind = _KINDS[number % len(_KINDS)]
            expires_at = datetime.now(UTC) + timedelta(days=30 + number)
            await self.ledger.accounts.grant(
                account_id,
                amount_mc=GRANT_MC,
                kind=kind,
                reference=f"grant-{number}",
                expires_at=None if kind is GrantKind.PURCHASED else expires_at,
            )

        await self.ledger.accounts.set_cap(account_id, _CAP, limit_mc=CAP_LIMIT_MC, reference="cap")

    def attempt(self, account_id: str = ACCOUNT) -> ExecutionAttempt:
        """Name an attempt on an execution that nobody asked about before."""
        number = next(self._numbers)
        return self.ledger.attempt(
            account_id=account_id,
            execution_id=f"j{number:08x}:step-3:1",
            workspace_id=WORKSPACE,
            campaign_id=f"welcome-{number % _CAMPAIGNS:02d}",
            person_id=f"person-{number}",
            action=_ACTIONS[number % len(_ACTIONS)],
            source="live",
            action_version="9f86d081884c",
            model="writer",
        )

    def attempts(self, count: int, account_id: str = ACCOUNT) -> list[ExecutionAttempt]:
        """Name many."""
        return [self.attempt(account_id) for _ in range(count)]

    async def reserve(self, attempt: ExecutionAttempt) -> Reserved:
        """Reserve, and insist on it."""
        reserved = await self.ledger.reserve(attempt, RESERVED_MC, TTL_MS)
        if not isinstance(reserved, Reserved):
            raise RuntimeError(f"nothing was reserved: {reserved}")
        return reserved

    async def settle(self, attempt: ExecutionAttempt, reserved: Reserved) -> None:
        """Charge a part of what was reserved, and insist on it."""
        settled = await self.ledger.settle(
            Settlement(
                attempt,
                cost_mc=COST_MC,
                reserved_mc=RESERVED_MC,
                reserved_at_ms=reserved.reserved_at_ms,
                tokens=TOKENS,
                rate_card_version=RATE_CARD,
                outcome=OUTCOME,
            )
        )
        if not isinstance(settled, Settled) or settled.charged_mc != COST_MC:
            raise RuntimeError(f"not settled: {settled}")

    async def pair(self, attempt: ExecutionAttempt) -> None:
        """Reserve and settle, as every execution does."""
        await self.settle(attempt, await self.reserve(attempt))

    async def check_books(self, pairs: int, account_id: str = ACCOUNT) -> None:
        """Make sure that every pair was booked, once."""
        balance = await self.ledger.accounts.balance(account_id)
        if not balance.conserved or balance.charged_mc != pairs * COST_MC or balance.reserved_mc:
            raise RuntimeError(f"the books are wrong after {pairs} pairs: {balance}")

    async def used_memory(self) -> int:
        """Return the server's memory in bytes, once its buffers are written and freed."""
        await asyncio.sleep(_SETTLING_S)
        return int((await self.client.info("memory"))["used_memory"])

    def conditions(self) -> dict[str, Any]:
        """Return what the figures were taken on."""
        return {
            "redis_server": self.server,
            "open_grants": OPEN_GRANTS,
            "caps": 1,
            "outcome_bytes": len(OUTCOME),
        }


@asynccontextmanager
async def open_ledger_stage() -> AsyncIterator[LedgerStage]:
    """Start a server with the append-only file on, and stop it afterwards."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="creditgate-bench-")))
        redis = await stack.enter_async_context(EmbeddedRedis(folder / "redis"))
        # As the product does it: the ledger itself bounds its calls.
        client = _connect(redis.url, socket_timeout=None)
        plain_client = _connect(redis.url)
        for each in (client, plain_client):
            stack.push_async_callback(each.aclose)
        settings = LedgerSettings(timeout_ms=30_000)
        ledger = CreditLedger(client, Identity(bytes(32)), settings, Commerce({_PLAN: True}))
        stack.push_async_callback(ledger.drain)
        yield LedgerStage(ledger, client, plain_client, await describe_redis(redis.url))


def _connect(url: str, **options: Any) -> Redis:
    pool = BlockingConnectionPool.from_url(
        url, max_connections=CONNECTIONS, timeout=_POOL_TIMEOUT_S, **options
    )
    return Redis.from_pool(pool)


def keys_of(stage: LedgerStage) -> Keys:
    """Return the names of the stage's keys."""
    return Keys(stage.ledger.settings.key_prefix)
