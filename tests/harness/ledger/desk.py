"""A ledger on a real server whose clock the test sets, and short words for what tests do."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster

from pricing.offers import GrantKind, Offer
from runtime.credits import scripts
from runtime.credits.batch import Batcher, Call
from runtime.credits.clock import own_clock_ms
from runtime.credits.endings import Settlement
from runtime.credits.identity import Dimensions, ExecutionAttempt, Identity
from runtime.credits.journal import JournalEntry, parse
from runtime.credits.ledger import Commerce, CreditLedger, LedgerSettings
from runtime.credits.results import (
    Alert,
    Balance,
    BookingUnknown,
    GrantBalance,
    Granted,
    LedgerUnavailable,
    Reserved,
    Settled,
)
from runtime.credits.script_client import ScriptClient
from runtime.credits.scripts import Scripts
from runtime.redis.cluster import transport_to
from runtime.redis.keys import Keys
from runtime.redis.primaries import primaries
from runtime.redis.transport import Transport
from tests.harness.ledger.staged import StagedTransport
from tests.harness.servers import CLUSTER_SCHEME

ACCOUNT = "acme"
INSTALLATION_KEY = b"an installation key of a test"
PLANS = {"growth": True, "trial": False}
OFFERS = (
    Offer("welcome", GrantKind.PROMOTIONAL, amount_mc=70),
    Offer("first-day", GrantKind.INTRODUCTORY, amount_mc=50, expires_after_days=0),
)
# Far ahead of the real clock, by which Redis ends outcomes.
START_MS = 4_000_000_000_000


# The transport says what time it is, behind all other arguments.
SCRIPTS_WITH_CLOCK = scripts.assemble("""
ARGV[8] = table.remove(ARGV)  -- the process's clock agrees
local told_ms = tonumber(ARGV[8])
local function server_ms()
  return told_ms
end""")


def connect(url: str, connections: int = 16, **options: Any) -> Redis | RedisCluster:
    """A client as the product makes it: bounded pool, no time-outs of redis-py's own."""
    if url.startswith(CLUSTER_SCHEME):
        return RedisCluster.from_url(
            url.removeprefix(CLUSTER_SCHEME),
            max_connections=connections,
            require_full_coverage=False,
            **options,
        )
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=10,
        socket_connect_timeout=10,
        **{"socket_timeout": None, **options},
    )
    return Redis.from_pool(pool)


def settings_of(prefix: str, **changes: Any) -> LedgerSettings:
    """Settings for tests: who tests no time-out waits for as long as a busy machine needs."""
    usual: dict[str, Any] = {"alert_cooldown_ms": 0, "timeout_ms": 10_000}
    return LedgerSettings(key_prefix=prefix, **(usual | changes))


def make_ledger(
    client: Redis | RedisCluster,
    prefix: str,
    *,
    scripts: Scripts | None = None,
    transport: Transport | None = None,
    offers: Sequence[Offer] = (),
    on_alert: Callable[[Alert], None] = lambda alert: None,
    clock_ms: Callable[[], int] = own_clock_ms,
    **settings: Any,
) -> CreditLedger:
    return CreditLedger(
        client,
        Identity(INSTALLATION_KEY),
        settings_of(prefix, **settings),
        Commerce(PLANS, offers),
        scripts=scripts,
        transport=transport,
        on_alert=on_alert,
        clock_ms=clock_ms,
    )


@contextmanager
def raises_not_booked(match: str | None = None) -> Iterator[None]:
    """Expect that the ledger is unavailable and says that nothing can have been booked."""
    with pytest.raises(LedgerUnavailable, match=match) as raised:
        yield
    assert not isinstance(raised.value, BookingUnknown)


@dataclass
class Desk:
    """A ledger, its clock, and what it has in Redis."""

    client: Any  # redis-py's types are unions of all that a setting could make of an answer
    prefix: str
    ledger: CreditLedger
    alerts: list[Alert] = field(default_factory=list)
    now_ms: int = START_MS
    numbers: Any = field(default_factory=lambda: itertools.count(1))
    transport: StagedTransport = field(init=False)
    """The way to the server, of a desk that ``open_desk`` opened."""
    script_client: ScriptClient = field(init=False)
    """Asks what no verb of the ledger asks alone."""

    @property
    def keys(self) -> Keys:
        return Keys(self.prefix)

    def key(self, part: str, account_id: str = ACCOUNT) -> str:
        """The account's key that ends so."""
        (name,) = [
            k for k in self.keys.of_account(account_id) if k.endswith(f"{account_id}:{part}")
        ]
        return name

    def outcome_key(self, execution_id: str, account_id: str = ACCOUNT) -> str:
        """The key of an execution's outcome."""
        name = Identity(INSTALLATION_KEY).execution_key(account_id, execution_id)
        return self.keys.outcome(account_id, name)

    async def set_clock(self, now_ms: int) -> None:
        self.now_ms = now_ms

    async def pass_time(self, by_ms: int) -> None:
        await self.set_clock(self.now_ms + by_ms)

    async def open(self, *grants_mc: int, account_id: str = ACCOUNT) -> None:
        """Open the account with grants that never expire."""
        await self.ledger.accounts.open_account(account_id, plan="growth")
        for amount_mc in grants_mc:
            await self.grant(amount_mc, account_id=account_id)

    async def grant(self, amount_mc: int, *, account_id: str = ACCOUNT, **changes: Any) -> Granted:
        """Give a grant under a reference of its own, unless told."""
        expires_in_ms = changes.pop("expires_in_ms", None)
        if expires_in_ms is not None:
            changes["expires_at"] = instant(self.now_ms + expires_in_ms)
        fields: dict[str, Any] = {
            "kind": GrantKind.PROMOTIONAL,
            "reference": f"grant-{next(self.numbers)}",
        }
        return await self.ledger.accounts.grant(
            account_id, amount_mc=amount_mc, **(fields | changes)
        )

    def attempt(self, execution_id: str | None = None, **changes: Any) -> ExecutionAttempt:
        """An attempt on an execution of its own, unless told."""
        fields: dict[str, Any] = {
            "account_id": ACCOUNT,
            "execution_id": execution_id or f"journey-{next(self.numbers)}:step:1",
            "workspace_id": "retail",
            "campaign_id": "welcome",
            "person_id": "person-1",
            "action": "route",
            "source": "live",
            "action_version": "v1",
            "model": "writer",
        }
        return self.ledger.attempt(**(fields | changes))

    async def reserve(
        self, amount_mc: int, attempt: ExecutionAttempt | None = None, ttl_ms: int = 60_000
    ) -> tuple[ExecutionAttempt, Reserved]:
        """Reserve, and insist on it."""
        attempt = attempt or self.attempt()
        answer = await self.ledger.reserve(attempt, amount_mc, ttl_ms)
        assert isinstance(answer, Reserved), answer
        return attempt, answer

    async def settle(
        self, attempt: ExecutionAttempt, reserved: Reserved, cost_mc: int, **changes: Any
    ) -> Any:
        fields: dict[str, Any] = {
            "cost_mc": cost_mc,
            "reserved_mc": reserved.amount_mc,
            "reserved_at_ms": reserved.reserved_at_ms,
            "tokens": "120,20,0,30,10",
            "rate_card_version": "2026-01",
            "outcome": b"the first outcome",
        }
        return await self.ledger.settle(Settlement(attempt, **(fields | changes)))

    async def spend(self, amount_mc: int) -> None:
        """Reserve and settle so much."""
        attempt, reserved = await self.reserve(amount_mc)
        settled = await self.settle(attempt, reserved, amount_mc)
        assert isinstance(settled, Settled), settled

    async def balance(self, account_id: str = ACCOUNT) -> Balance:
        """The balance, which balances."""
        balance = await self.ledger.accounts.balance(account_id)
        assert balance.conserved, balance
        return balance

    async def parts(self, grant_id: str = "g1") -> GrantBalance:
        """One grant's parts."""
        return {grant.grant_id: grant for grant in (await self.balance()).grants}[grant_id]

    async def write_what_is_due(self, account_id: str = ACCOUNT) -> None:
        await self.script_client.ask(account_id, Call("expire", (), ends=True))

    def another_ledger(self, **changes: Any) -> CreditLedger:
        """Return another process's ledger on the same accounts, by the same clock."""
        return make_ledger(
            self.client,
            self.prefix,
            scripts=SCRIPTS_WITH_CLOCK,
            transport=self.transport,
            **changes,
        )

    async def journal(self, account_id: str = ACCOUNT) -> list[JournalEntry]:
        raw = await self.client.xrange(self.key("journal", account_id))
        names: dict[int, Dimensions] = {}
        return [parse(entry_id, fields, names) for entry_id, fields in raw]

    async def server_ms(self) -> int:
        """The clock of a server, by which the sweeper goes and outcomes end."""
        return await (await primaries(self.client))[0].time_ms()

    async def names(self, pattern: str = "*") -> list[bytes]:
        """The keys under the prefix whose rest is like ``pattern``, in order."""
        found = self.client.scan_iter(f"{self.prefix}:{pattern}", count=1_000)
        return sorted({name async for name in found})

    async def dump(self) -> dict[bytes, bytes | None]:
        """Every key of the ledger, to be restored."""
        return {name: await self.client.dump(name) for name in await self.names()}

    async def state(self) -> dict[bytes, bytes | None]:
        """Every key of the ledger, to be compared, byte for byte.

        Of hashes and sets it has each field or member, which servers order as they like.
        """
        return {name: await self._state_of(name) for name in await self.names()}

    async def _state_of(self, name: bytes) -> bytes | None:
        kind = await self.client.type(name)
        if kind == b"hash":
            return repr(sorted((await self.client.hgetall(name)).items())).encode()
        if kind == b"set":
            return repr(sorted(await self.client.smembers(name))).encode()
        found: bytes | None = await self.client.dump(name)
        return found

    async def contents(self, names: Sequence[str]) -> dict[str, object]:
        """What these keys hold; Redis' own order of hashes aside, which a growing table changes."""
        pipeline = self.client.pipeline(transaction=False)
        for name in names:
            pipeline.type(name)
        kinds = [kind.decode() for kind in await pipeline.execute()]
        pipeline = self.client.pipeline(transaction=False)
        for name, kind in zip(names, kinds, strict=True):
            pipeline.execute_command(*(part.format(name) for part in _READING[kind]))
        return dict(zip(names, zip(kinds, await pipeline.execute(), strict=True), strict=True))


_READING = {
    "none": ("GET", "{}"),
    "string": ("GET", "{}"),
    "hash": ("HGETALL", "{}"),
    "zset": ("ZRANGE", "{}", "0", "-1", "WITHSCORES"),
    "set": ("SMEMBERS", "{}"),
    "stream": ("XRANGE", "{}", "-", "+"),
}


@asynccontextmanager
async def open_desk(
    url: str,
    prefix: str,
    *,
    offers: Sequence[Offer] = (),
    on_alert: Callable[[Alert], None] | None = None,
    **changes: Any,
) -> AsyncIterator[Desk]:
    """A ledger with these settings; its clock stands still until it is set."""
    client = connect(url)
    alerts: list[Alert] = []
    settings = settings_of(prefix, **changes)
    way = transport_to(client, settings.timeout_ms, settings.replicas)
    transport = StagedTransport(way, lambda: desk.now_ms)
    hear = on_alert or alerts.append
    ledger = make_ledger(
        client,
        prefix,
        scripts=SCRIPTS_WITH_CLOCK,
        transport=transport,
        offers=offers,
        on_alert=hear,
        clock_ms=lambda: desk.now_ms,
        **changes,
    )
    desk = Desk(client, prefix, ledger, alerts)
    desk.transport = transport
    desk.script_client = ScriptClient(
        Batcher(
            transport,
            SCRIPTS_WITH_CLOCK,
            desk.keys,
            settings.header,
            hear,
            lambda: desk.now_ms,
        ),
        settings.timeout_ms,
    )
    try:
        yield desk
    finally:
        await ledger.drain()
        await client.aclose()
        await asyncio.sleep(0)  # closed transports say goodbye in the next turn of the loop


def instant(ms: int) -> datetime:
    """The instant as a datetime."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)


OpenDesk = Callable[..., AbstractAsyncContextManager[Desk]]
