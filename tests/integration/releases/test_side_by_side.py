"""Release 0.1 and this one on the same accounts, until the migration is finished, and after."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fallback.reasons import FallbackReason
from pricing.offers import GrantKind
from runtime.credits.caps import Cap, CapWindow
from runtime.credits.endings import Ending, Release, Settlement
from runtime.credits.identity import Dimensions, ExecutionAttempt
from runtime.credits.journal import JournalEntry, Kind, Part, parse, replay, verify
from runtime.credits.ledger import CreditLedger
from runtime.credits.results import (
    AccountDamaged,
    LedgerError,
    LedgerUnavailable,
    Reserved,
    Settled,
)
from runtime.executions.spool import Replay, Spool
from runtime.redis.keys import Keys
from tests.harness.ledger.desk import ACCOUNT, connect, make_ledger
from tests.harness.older_release import OlderLedger
from tests.harness.servers import CLUSTER, LedgerServers

EXECUTIONS = 2_000
REFUSED = "schema 2 was written by a newer release, this one reads up to 1: run the newer release"
ELSEWHERE = ", or point redis.key_prefix elsewhere"
REASON, CHOICES = FallbackReason.OUTPUT_INVALID, ((0, 2), (1, 0))
Ledgers = tuple[CreditLedger, CreditLedger]


@dataclass
class Both:
    """A process of each release on one Redis."""

    client: Any
    prefix: str
    old: OlderLedger
    new: CreditLedger

    def attempt(self, number: int, account_id: str = ACCOUNT) -> ExecutionAttempt:
        return self.new.attempt(
            account_id=account_id,
            execution_id=f"journey-{number}:step:1",
            workspace_id="retail",
            campaign_id=f"campaign-{number % 5}",
            person_id=f"person-{number}",
            action="route",
            source="live",
            action_version="v1",
            model="writer",
        )

    def key(self, part: str, account_id: str = ACCOUNT) -> str:
        (name,) = (
            name
            for name in Keys(self.prefix).of_account(account_id)
            if name.endswith(f"{account_id}:{part}")
        )
        return name

    async def schema(self, account_id: str = ACCOUNT) -> str:
        return str((await self.client.hget(self.key("account", account_id), "schema")).decode())

    async def journal(self, account_id: str = ACCOUNT) -> list[JournalEntry]:
        names: dict[int, Dimensions] = {}
        raw = await self.client.xrange(self.key("journal", account_id))
        entries = [parse(entry_id, fields, names) for entry_id, fields in raw]
        verify(entries)
        return entries


@pytest_asyncio.fixture
async def both(redis_url: str, key_prefix: str) -> AsyncIterator[Both]:
    """An installation of release 0.1 with an account, where this release runs too."""
    client, other = connect(redis_url), connect(redis_url)
    old, new = OlderLedger(other, key_prefix), make_ledger(client, key_prefix)
    both = Both(client, key_prefix, old, new)
    await both.old.check_installation()
    await both.new.check_installation()
    await both.old.accounts.open_account(ACCOUNT, plan="growth")
    await both.old.accounts.grant(
        ACCOUNT, amount_mc=2_000_000, kind=GrantKind.PLAN, reference="plan"
    )
    yield both
    for ledger in (both.old, both.new):
        await ledger.drain()
    await client.aclose()
    await other.aclose()
    await asyncio.sleep(0)  # closed transports say goodbye in the next turn of the loop


def settlement(attempt: ExecutionAttempt, reserved: Reserved, cost_mc: int) -> Settlement:
    return Settlement(
        attempt,
        cost_mc,
        reserved.amount_mc,
        reserved.reserved_at_ms,
        "120,20,0,30,10",
        "2026-01",
        outcome=b"answer",
        reason=REASON,
        choices=CHOICES,
    )


def version(entry: JournalEntry) -> str:
    return entry.body.partition("\t")[0]


async def finish(both: Both) -> tuple[int, dict[str, str]]:
    *_, last = [step async for step in both.new.migration.finish()]
    return last.upgraded, last.left


@pytest.mark.parametrize("swap", [False, True], ids=["old reserves", "new reserves"])
async def test_law_3e_what_one_release_reserved_the_other_settles_and_what_it_stored_both_read(
    both: Both, swap: bool
) -> None:
    one, other = (both.new, both.old) if swap else (both.old, both.new)
    await one.accounts.set_cap(ACCOUNT, Cap(CapWindow.DAY), limit_mc=50_000, reference="cap")
    attempt = both.attempt(1)
    reserved = await one.reserve(attempt, 1_000, 60_000)
    assert isinstance(reserved, Reserved)
    known = await other.reserve(attempt, 1_000, 60_000)
    assert isinstance(known, Reserved)
    assert known.reserved_at_ms == reserved.reserved_at_ms

    settled = await other.end(settlement(attempt, reserved, 700))

    assert isinstance(settled, Settled)
    assert (settled.charged_mc, settled.flags) == (700, ())
    again = await one.end(settlement(attempt, reserved, 700))
    assert isinstance(again, Settled)
    assert await one.look_up(attempt) == await other.look_up(attempt)
    released = both.attempt(2)
    await one.reserve(released, 1_000, 60_000)
    await other.end(Release(released, FallbackReason.PROVIDER_ERROR))
    balances = [await ledger.accounts.balance(ACCOUNT) for ledger in (one, other)]
    assert {b.charged_mc for b in balances} == {700}
    assert {b.reserved_mc for b in balances} == {0}
    assert all(b.conserved for b in balances)
    caps = [(await ledger.accounts.caps(ACCOUNT))[0] for ledger in (one, other)]
    assert {(cap.charged_mc, cap.reserved_mc) for cap in caps} == {(700, 0)}
    journal = await both.journal()
    assert {version(entry) for entry in journal} == {"1"}
    (entry,) = [entry for entry in journal if entry.kind is Kind.SETTLED]
    assert (entry.reason, entry.choices, entry.detail) == (None, (), ())


async def test_accounts_opened_by_this_release_are_read_by_the_other_until_the_end(
    both: Both,
) -> None:
    await both.new.accounts.open_account("globex", plan="growth")
    assert await both.schema("globex") == "1"
    assert (await both.old.accounts.balance("globex")).conserved

    await finish(both)

    await both.new.accounts.open_account("initech", plan="growth")
    assert [await both.schema(name) for name in ("globex", "initech")] == ["2", "2"]
    assert await finish(both) == (0, {})


async def test_before_the_end_looking_tells_what_is_at_which_schema_and_writes_nothing(
    both: Both,
) -> None:
    await both.new.accounts.open_account("globex", plan="growth")
    before = await both.client.hgetall(both.key("account"))

    found = await both.new.migration.look()

    assert (found.installation, found.accounts) == (1, Counter({1: 2}))
    assert (sorted(found.older), found.unreadable) == ([ACCOUNT, "globex"], {})
    assert await both.client.hgetall(both.key("account")) == before
    await finish(both)
    found = await both.new.migration.look()
    assert (found.installation, found.accounts, found.older) == (2, Counter({2: 2}), [])


async def test_law_3e_after_the_end_the_older_release_is_refused_by_name_and_loses_nothing(
    both: Both, tmp_path: Path
) -> None:
    attempt, running = both.attempt(1), both.attempt(2)
    reserved = await both.old.reserve(attempt, 1_000, 60_000)
    assert isinstance(reserved, Reserved)
    assert isinstance(await both.old.reserve(running, 1_000, 60_000), Reserved)
    assert await finish(both) == (1, {})
    before = await both.client.hgetall(both.key("account"))

    for verb in (
        both.old.reserve(both.attempt(3), 1_000, 60_000),
        both.old.end(settlement(attempt, reserved, 700)),
        both.old.end(Release(running)),
        both.old.accounts.balance(ACCOUNT),
    ):
        with pytest.raises(AccountDamaged, match=REFUSED):
            await verb
    await both.old.sweep()
    assert await both.client.hgetall(both.key("account")) == before

    spool = Spool(tmp_path / "spool")
    await spool.put(settlement(attempt, reserved, 700))
    assert await spool.replay(both.old) == Replay(done=0, dead=0, left=1)
    assert await spool.replay(both.new) == Replay(done=1, dead=0, left=0)
    await both.new.end(Release(running))
    balance = await both.new.accounts.balance(ACCOUNT)
    assert (balance.charged_mc, balance.reserved_mc, balance.conserved) == (700, 0, True)
    (entry,) = [entry for entry in await both.journal() if entry.kind is Kind.SETTLED]
    assert (version(entry), entry.reason, entry.choices) == ("2", REASON, CHOICES)


@dataclass
class Load:
    """Executions of which each is reserved by one release and ended by either, by chance."""

    both: Both
    spool: Spool
    chance: random.Random = field(default_factory=lambda: random.Random(20_260_501))
    charged: dict[int, int] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)

    async def execute(self, number: int) -> None:
        reserving, ending = self.chance.choices((self.both.old, self.both.new), k=2)
        attempt = self.both.attempt(number)
        try:
            reserved = await reserving.reserve(attempt, 1_000, 60_000)
        except AccountDamaged as error:
            self.refused[f"reserve: {error}"] += 1
            return
        assert isinstance(reserved, Reserved)
        await asyncio.sleep(self.chance.random() * 0.01)
        done = self._ending(number, attempt, reserved)
        try:
            await ending.end(done)
        except AccountDamaged as error:
            self.refused[f"end: {error}"] += 1
            await self.spool.put(done)

    def _ending(self, number: int, attempt: ExecutionAttempt, reserved: Reserved) -> Ending:
        if number % 7 == 0:
            return Release(attempt, FallbackReason.PROVIDER_ERROR)
        self.charged[number] = self.chance.randrange(1, 1_000)
        return settlement(attempt, reserved, self.charged[number])


async def test_law_3e_both_on_one_account_under_load_until_the_end_and_past_it(
    both: Both, tmp_path: Path
) -> None:
    load = Load(both, Spool(tmp_path / "spool"))
    numbers = iter(range(EXECUTIONS))

    async def work() -> None:
        for number in numbers:
            await load.execute(number)
            if number == EXECUTIONS // 2:
                assert not load.refused
                assert await finish(both) == (1, {})

    await asyncio.gather(*(work() for _ in range(32)))
    assert {text.partition(":")[0] for text in load.refused} == {"reserve", "end"}
    assert all(text.endswith(f"{REFUSED}{ELSEWHERE}") for text in load.refused)
    assert (await load.spool.replay(both.new)).left == 0

    balance = await both.new.accounts.balance(ACCOUNT)
    assert (balance.conserved, balance.reserved_mc) == (True, 0)
    assert balance.charged_mc == sum(load.charged.values())
    entries = await both.journal()
    settled = [entry for entry in entries if entry.kind is Kind.SETTLED]
    assert len({entry.execution_key for entry in settled}) == len(settled) == len(load.charged)
    versions = [version(entry) for entry in entries]
    assert (versions, set(versions)) == (sorted(versions), {"1", "2"})
    for entry in settled:
        told = (REASON, CHOICES) if version(entry) == "2" else (None, ())
        assert (entry.reason, entry.choices) == told
    (grant,) = replay(entries).grants.values()
    assert grant.parts_mc[Part.CHARGED] == balance.charged_mc
    assert grant.parts_mc[Part.AVAILABLE] == balance.available_mc


async def test_law_3e_what_can_not_be_upgraded_is_named_and_the_rest_is_upgraded(
    both: Both,
) -> None:
    for name in ("globex", "initech", "hooli"):
        await both.old.accounts.open_account(name, plan="growth")
    await both.new.repairs.stop("globex", why="a fork")
    await both.client.hset(both.key("account", "initech"), "books", "nothing")
    await both.client.delete(*Keys(both.prefix).of_account("hooli")[:9])

    upgraded, left = await finish(both)

    assert upgraded == 1
    assert set(left) == {"globex", "initech", "hooli"}
    assert "creditgate repair fork" in left["globex"]
    assert [await both.schema(name) for name in (ACCOUNT, "globex")] == ["2", "1"]
    await both.new.repairs.resume("globex", reason="it was none", actor="ann")
    assert (await finish(both))[0] == 1


async def test_law_3e_a_migration_that_was_stopped_goes_on_where_it_was(both: Both) -> None:
    names = [f"account-{number}" for number in range(200)]
    await asyncio.gather(*(both.old.accounts.open_account(n, plan="growth") for n in names))
    async for step in both.new.migration.finish():
        if step.upgraded > 20:
            break
    assert 20 < step.upgraded < 201
    stopped_at = step.upgraded

    assert await finish(both) == (201 - stopped_at, {})
    assert {await both.schema(name) for name in names} == {"2"}


async def test_a_running_process_notices_the_end_and_opens_accounts_by_it(
    both: Both,
) -> None:
    other = make_ledger(both.client, both.prefix)
    await other.check_installation()
    assert other.watch.schema == 1
    await finish(both)
    await other.watch.look()
    assert other.watch.schema == 2
    await other.accounts.open_account("globex", plan="growth")
    assert await both.schema("globex") == "2"


async def test_a_new_installation_begins_with_the_newest_schema(
    redis_url: str, key_prefix: str
) -> None:
    client: Any = connect(redis_url)
    ledger = make_ledger(client, key_prefix)
    await ledger.check_installation()
    await ledger.accounts.open_account(ACCOUNT, plan="growth")
    found = await ledger.migration.look()
    assert (found.installation, found.accounts) == (2, Counter({2: 1}))
    await client.aclose()


@pytest.mark.parametrize("schema", ["3", "newest", ""])
async def test_an_installation_of_a_schema_that_is_not_known_is_refused_at_start(
    both: Both, schema: str
) -> None:
    name = Keys(both.prefix).installation
    await both.client.hset(name, "schema", schema)
    with pytest.raises(LedgerError, match=f"^{name}: ") as refused:
        await make_ledger(both.client, both.prefix).check_installation()
    assert not isinstance(refused.value, LedgerUnavailable)
    with pytest.raises(LedgerError, match=f"^{name}: "):
        await finish(both)
    assert await both.schema() == "1"


async def test_law_3e_the_accounts_of_a_cluster_are_upgraded_on_each_of_its_nodes(
    ledger_servers: LedgerServers, key_prefix: str
) -> None:
    client: Any = connect(ledger_servers.url(CLUSTER))
    old, new = OlderLedger(client, key_prefix), make_ledger(client, key_prefix)
    both = Both(client, key_prefix, old, new)
    await both.old.check_installation()
    await both.new.check_installation()
    names = [f"account-{number}" for number in range(12)]
    for name in names:
        await both.old.accounts.open_account(name, plan="growth")

    assert (await both.new.migration.look()).accounts == Counter({1: 12})
    assert await finish(both) == (12, {})

    assert {await both.schema(name) for name in names} == {"2"}
    assert (await both.new.migration.look()).accounts == Counter({2: 12})
    for ledger in (old, new):
        await ledger.drain()
    await client.aclose()
    await asyncio.sleep(0)  # closed transports say goodbye in the next turn of the loop
