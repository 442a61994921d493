"""The journals of a round: what a server has of them, and what the archive has."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from redis.asyncio import Redis
from sqlalchemy import select

from pricing.offers import GrantKind
from runtime.archive.audit import Audit, Auditor
from runtime.archive.copier import Copier
from runtime.archive.opening import open_archive
from runtime.credits.identity import Dimensions
from runtime.credits.journal import JournalEntry, parse
from runtime.credits.ledger import CreditLedger
from runtime.credits.results import Balance, LedgerUnavailable
from runtime.credits.told import read_told
from runtime.executions.spool import Spool
from runtime.ledger_opening import connected, open_ledger
from runtime.redis.keys import Keys
from runtime.store.database import Database
from runtime.store.schema import accounts, entries
from tests.drills.plan import PREFIX, Plan

_GRANT_MC = 10**12
_QUIET_WITHIN_S = 120.0
_PATIENCE_MS = 20_000
_UNKNOWN = Dimensions(*["?"] * len(Dimensions._fields))


class DrillFailed(Exception):
    """Something that must hold after a drill does not; the message says all of it."""


@dataclass(frozen=True, slots=True)
class Books:
    """The ledger and its archive, as a process has them that was told of nothing yet."""

    ledger: CreditLedger
    database: Database
    copier: Copier


@asynccontextmanager
async def ledger_of(plan: Plan) -> AsyncIterator[CreditLedger]:
    """Open the ledger as a process has it that was told of nothing yet."""
    async with open_ledger(_patient(plan).config()) as ledger:
        yield ledger


@asynccontextmanager
async def books_of(plan: Plan) -> AsyncIterator[Books]:
    """Open the ledger and its archive."""
    config = _patient(plan).config()
    async with (
        connected(config, None) as client,
        open_ledger(config, redis=client) as ledger,
        open_archive(config, ledger.key_check) as database,
    ):
        copier = Copier(
            database,
            client,
            Keys(PREFIX),
            timeout_ms=_PATIENCE_MS,
            stop=lambda account, why: ledger.repairs.stop(account, why=why),
            replicas=plan.wait_replicas if plan.durability == "replicated" else 0,
        )
        yield Books(ledger, database, copier)


def _patient(plan: Plan) -> Plan:
    """Return a plan for who looks on: it also opens while replicas are away."""
    durability = "relaxed" if plan.durability == "replicated" else plan.durability
    return replace(plan, timeout_ms=_PATIENCE_MS, durability=durability)


async def open_accounts(plan: Plan) -> None:
    """Open the accounts, with more credits than are ever used."""
    async with ledger_of(plan) as ledger:
        for account in plan.accounts:
            await ledger.accounts.open_account(account, plan="growth")
            await ledger.accounts.grant(
                account, amount_mc=_GRANT_MC, kind=GrantKind.PURCHASED, reference="first"
            )


async def come_to_rest(plan: Plan) -> dict[str, Balance]:
    """Book what waits in the spool, wait until nothing is reserved; return the balances.

    Raises:
        DrillFailed: something is still reserved or spooled after two minutes, or dead.
    """
    spool = Spool(plan.spool)
    give_up_at_s = time.monotonic() + _QUIET_WITHIN_S
    async with ledger_of(plan) as ledger:
        while True:
            try:
                replayed = await spool.replay(ledger)
                await ledger.sweep()
                balances = {name: await ledger.accounts.balance(name) for name in plan.accounts}
            except LedgerUnavailable as error:
                if time.monotonic() > give_up_at_s:
                    raise DrillFailed(f"the ledger does not answer: {error}") from error
            else:
                if replayed.dead:
                    raise DrillFailed(f"{replayed.dead} endings in the spool are dead")
                if not replayed.left and not any(one.reserved_mc for one in balances.values()):
                    return balances
                if time.monotonic() > give_up_at_s:
                    raise DrillFailed(f"no rest: {replayed.left} spooled, {balances}")
            await asyncio.sleep(0.1)


@dataclass(frozen=True, slots=True)
class InRedis:
    """A journal as a server has it: the entries that are not trimmed, and the last sequence."""

    seq: int
    entries: tuple[JournalEntry, ...]


async def in_redis(plan: Plan, url: str) -> dict[str, InRedis]:
    """Read every account's journal on one server."""
    client: Any
    found = {}
    async with Redis.from_url(url) as client:
        for account in plan.accounts:
            key = Keys(PREFIX).of_account(account)[8]
            if not await client.exists(key):
                found[account] = InRedis(0, ())
                continue
            last = (await client.xinfo_stream(key))["last-generated-id"].decode()
            # Who was named in an entry that is trimmed is not asked for here.
            names = defaultdict[int, Dimensions](lambda: _UNKNOWN)
            read = [parse(entry_id, fields, names) for entry_id, fields in await client.xrange(key)]
            found[account] = InRedis(int(last.removeprefix("0-")), tuple(read))
    return found


async def archive_all(plan: Plan) -> dict[str, list[JournalEntry]]:
    """Archive what is new; return every account's journal as the archive has it.

    Raises:
        DrillFailed: an account stays behind.
    """
    async with books_of(plan) as books:
        while True:
            done = await books.copier.run_once()
            if done.left:
                raise DrillFailed(f"the archive leaves behind {done.left}")
            if not done.entries:
                break
        return await _archived(plan, books.database)


async def archived(plan: Plan, url: str) -> dict[str, list[JournalEntry]]:
    """Return every account's journal as the archive has it by now; ``url`` is any server's."""
    async with books_of(replace(plan, url=url)) as books:
        return await _archived(plan, books.database)


async def _archived(plan: Plan, database: Database) -> dict[str, list[JournalEntry]]:
    statement = (
        select(accounts.c.account_id, entries.c.seq, entries.c.chain, entries.c.body)
        .join(accounts, accounts.c.no == entries.c.account)
        .order_by(accounts.c.account_id, entries.c.seq)
    )
    found: dict[str, list[JournalEntry]] = {name: [] for name in plan.accounts}
    names: dict[str, dict[int, Dimensions]] = defaultdict(dict)
    async with database.connect() as connection:
        for account, seq, chain, body in await connection.execute(statement):
            fields = {b"e": body.encode(), b"c": chain.encode()}
            found[account].append(parse(f"0-{seq}", fields, names[account]))
    return found


async def audit(plan: Plan, url: str | None = None) -> Audit:
    """Audit all accounts, as ``creditgate audit`` does; perhaps as another server has them."""
    told = read_told([plan.root / "data" / "told"], PREFIX)
    async with books_of(replace(plan, url=url or plan.url)) as books:
        auditor = Auditor(books.ledger.inspection, books.database, told)
        return await auditor.audit(await auditor.accounts())
