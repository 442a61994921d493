"""The journals of a round: what a server has of them, and what the archive has."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from redis.asyncio import Redis
from sqlalchemy import select

from pricing.offers import GrantKind
from runtime.archive.copier import Copier
from runtime.archive.opening import open_archive
from runtime.credits.identity import Dimensions
from runtime.credits.journal import JournalEntry, parse
from runtime.credits.ledger import CreditLedger
from runtime.credits.results import Balance, LedgerUnavailable
from runtime.executions.spool import Spool
from runtime.ledger_opening import connected, open_ledger
from runtime.redis.keys import Keys
from runtime.store.database import Database
from runtime.store.schema import accounts, entries
from tests.drills.plan import PREFIX, Plan, Told

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
        )
        yield Books(ledger, database, copier)


def _patient(plan: Plan) -> Plan:
    return replace(plan, timeout_ms=_PATIENCE_MS)


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
            archived = await books.copier.run_once()
            if archived.left:
                raise DrillFailed(f"the archive leaves behind {archived.left}")
            if not archived.entries:
                break
        statement = (
            select(accounts.c.account_id, entries.c.seq, entries.c.chain, entries.c.body)
            .join(accounts, accounts.c.no == entries.c.account)
            .order_by(accounts.c.account_id, entries.c.seq)
        )
        found: dict[str, list[JournalEntry]] = {name: [] for name in plan.accounts}
        names: dict[str, dict[int, Dimensions]] = defaultdict(dict)
        async with books.database.connect() as connection:
            for account, seq, chain, body in await connection.execute(statement):
                fields = {b"e": body.encode(), b"c": chain.encode()}
                found[account].append(parse(f"0-{seq}", fields, names[account]))
        return found


@dataclass(frozen=True, slots=True)
class Loss:
    """Entries of an account that a server had and its successor has not.

    Args:
        kept_seq: the last entry that the successor has.
        told_seq: the last one that a process was told of: up to there the loss can be noticed.
        entries: what the dead server had behind ``kept_seq``, where its disk could be read.
    """

    account_id: str
    epoch: str
    kept_seq: int
    told_seq: int
    entries: tuple[JournalEntry, ...] = ()

    @property
    def count(self) -> int:
        return self.told_seq - self.kept_seq

    @property
    def named(self) -> tuple[JournalEntry, ...]:
        """The lost entries that somebody was told of."""
        return tuple(entry for entry in self.entries if entry.seq <= self.told_seq)

    def __str__(self) -> str:
        return f"{self.account_id} {self.kept_seq + 1}..{self.told_seq}"


def losses(
    known: Iterable[Told],
    kept: dict[str, InRedis],
    before: dict[str, InRedis] | None = None,
) -> list[Loss]:
    """Compare what processes were told with what is kept; return what is gone, by account.

    Args:
        known: what processes had been told, in their order, when nobody answered them any more.
        kept: the journals after the failure.
        before: those of the dead server, where they could be read.
    """
    last: dict[str, Told] = {}
    for one in known:
        other = last.get(one.account_id)
        # Another epoch: a loss was accepted, and what was told before it is settled.
        if other is None or one.epoch != other.epoch or one.seq > other.seq:
            last[one.account_id] = one
    found = []
    for account, one in last.items():
        kept_seq = kept[account].seq
        if one.seq > kept_seq:
            was = before[account].entries if before else ()
            gone = tuple(entry for entry in was if entry.seq > kept_seq)
            found.append(Loss(account, one.epoch, kept_seq, one.seq, gone))
    return found


async def accept(plan: Plan, lost: Iterable[Loss]) -> None:
    """Accept losses as an operator does, so that the accounts run again."""
    async with ledger_of(plan) as ledger:
        for loss in lost:
            await ledger.repairs.accept_loss(
                loss.account_id, reason="a drill lost its last writes", actor="drill"
            )
