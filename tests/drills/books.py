"""The books of a round when all is quiet, and everything that must be true of them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from redis.asyncio import Redis

from pricing.offers import GrantKind
from runtime.credits.identity import Dimensions
from runtime.credits.journal import JournalEntry, JournalError, Kind, parse, replay, verify
from runtime.credits.ledger import CreditLedger
from runtime.credits.results import Balance, LedgerUnavailable
from runtime.executions.spool import Spool
from runtime.ledger_opening import open_ledger
from runtime.redis.keys import Keys
from tests.drills.plan import PREFIX, Plan, Received, Told, received, told
from tests.harness.races.books import charged_mc, parts_of

_GRANT_MC = 10**12
_QUIET_WITHIN_S = 120.0
_PATIENCE_MS = 20_000

Journals = dict[str, list[JournalEntry]]


class DrillFailed(Exception):
    """Something that must hold after a drill does not; the message says all of it."""


@asynccontextmanager
async def ledger_of(plan: Plan) -> AsyncIterator[tuple[CreditLedger, Redis]]:
    """Yield the ledger as a process has it that was told of nothing yet, and a client."""
    patient = replace(plan, timeout_ms=_PATIENCE_MS)
    async with open_ledger(patient.config()) as ledger, Redis.from_url(plan.url) as client:
        yield ledger, client


async def open_accounts(plan: Plan) -> None:
    """Open the accounts, with more credits than are ever used."""
    async with ledger_of(plan) as (ledger, _):
        for account in plan.accounts:
            await ledger.accounts.open_account(account, plan="growth")
            await ledger.accounts.grant(
                account, amount_mc=_GRANT_MC, kind=GrantKind.PURCHASED, reference="first"
            )


async def journals(plan: Plan, url: str | None = None) -> Journals:
    """Read every account's journal, of the ledger's server or of another one."""
    async with Redis.from_url(url or plan.url) as client:
        return {account: await _journal(client, account) for account in plan.accounts}


async def _journal(client: Any, account: str) -> list[JournalEntry]:
    key = Keys(PREFIX).of_account(account)[8]
    names: dict[int, Dimensions] = {}
    return [parse(entry_id, fields, names) for entry_id, fields in await client.xrange(key)]


async def come_to_rest(plan: Plan) -> dict[str, Balance]:
    """Book what waits in the spool, wait until nothing is reserved; return the balances.

    Raises:
        DrillFailed: something is still reserved or spooled after two minutes, or dead.
    """
    spool = Spool(plan.spool)
    give_up_at_s = time.monotonic() + _QUIET_WITHIN_S
    async with ledger_of(plan) as (ledger, _):
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
        return max(0, self.told_seq - self.kept_seq)

    @property
    def named(self) -> tuple[JournalEntry, ...]:
        """The lost entries that somebody was told of."""
        return tuple(entry for entry in self.entries if entry.seq <= self.told_seq)

    def __str__(self) -> str:
        return f"{self.account_id} {self.kept_seq + 1}..{self.told_seq}"


def losses(known: Iterable[Told], kept: Journals, before: Journals | None = None) -> list[Loss]:
    """Compare what processes were told with what is kept; return what is gone, by account.

    Args:
        known: what processes had been told when nobody answered them any more.
        kept: the journals after the failure.
        before: those of the dead server, where they could be read.
    """
    last: dict[str, Told] = {}
    for one in known:
        entries = kept[one.account_id]
        if entries and one.epoch != entries[-1].epoch:
            continue  # of a loss that was accepted before
        if one.seq > last.get(one.account_id, one).seq or one.account_id not in last:
            last[one.account_id] = one
    found = []
    for account, one in last.items():
        kept_seq = len(kept[account])
        gone = (before or {}).get(account, [])[kept_seq:]
        if one.seq > kept_seq:
            found.append(Loss(account, one.epoch, kept_seq, one.seq, tuple(gone)))
    return found


async def accept(plan: Plan, lost: Iterable[Loss]) -> None:
    """Accept losses as an operator does, so that the accounts run again."""
    async with ledger_of(plan) as (ledger, _):
        for loss in lost:
            await ledger.repairs.accept_loss(
                loss.account_id, reason="a drill lost its last writes", actor="drill"
            )


@dataclass(slots=True)
class Findings:
    """Counts of a round, and what was wrong."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def check(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.wrong.append(otherwise)


async def check(plan: Plan, lost: Iterable[Loss] = ()) -> Findings:
    """Bring a round to rest and check its books.

    Args:
        lost: the losses that were found on the way and accepted.
    """
    balances = await come_to_rest(plan)
    kept = await journals(plan)
    found = Findings()
    got = received(plan)
    lost = list(lost)
    settled = _check_journals(found, kept, balances)
    _check_received(found, got, settled, lost)
    _check_told(found, plan, kept, lost)
    _count(found, plan, got, kept)
    return found


def _check_journals(
    found: Findings, kept: Journals, balances: Mapping[str, Balance]
) -> dict[str, int]:
    """Check chains, sums and single charges; return the charge by execution key."""
    settled: dict[str, int] = {}
    for account, entries in kept.items():
        balance = balances[account]
        found.check(balance.conserved, f"{account} does not conserve: {balance}")
        found.check(len(entries) == balance.journal_seq, f"{account}: {len(entries)} entries")
        try:
            verify(entries)
            books = replay(entries)
        except JournalError as error:
            found.wrong.append(f"{account}: {error}")
            continue
        rebuilt = {name: (one.amount_mc, one.parts_mc) for name, one in books.grants.items()}
        expected = {one.grant_id: (one.amount_mc, parts_of(one)) for one in balance.grants}
        found.check(rebuilt == expected, f"{account}: replayed {rebuilt}, balance {expected}")
        exposure = (books.overage_mc, books.exposure_mc)
        found.check(exposure == (balance.overage_mc, balance.exposure_mc), f"{account}: {exposure}")
        for entry in entries:
            if entry.kind is Kind.SETTLED:
                twice = entry.execution_key in settled
                found.check(not twice, f"{account}: {entry.execution_key} is charged twice")
                settled[entry.execution_key] = charged_mc(entry) + entry.overage_mc
    return settled


def _check_received(
    found: Findings, got: list[Received], settled: Mapping[str, int], lost: list[Loss]
) -> None:
    """Check that each charge that a caller received is in the books, or counted as lost."""
    charged = {one.execution_key: one.charged_mc for one in got if one.charged_mc}
    missing = {key for key in charged if key not in settled}
    for key, amount_mc in charged.items():
        if key not in missing:
            found.check(
                settled[key] == amount_mc, f"{key}: told {amount_mc}, booked {settled[key]}"
            )
    told_twice = len([one for one in got if one.charged_mc]) - len(charged)
    found.check(not told_twice, f"{told_twice} charges were received twice")
    lost_count = sum(loss.count for loss in lost)
    found.counts["charges received"] = len(charged)
    found.counts["entries lost"] = lost_count
    found.counts["charges received and lost"] = len(missing)
    found.notes += [str(loss) for loss in lost]
    named = {entry.execution_key for loss in lost for entry in loss.named}
    if not all(loss.entries for loss in lost):
        # The dead server's disk is gone as well: all that is known is their count.
        charges = lost_count
    else:
        charges = sum(entry.kind is Kind.SETTLED for loss in lost for entry in loss.named)
        found.check(missing <= named, f"lost and not named: {sorted(missing - named)[:5]}")
    rebooked = len([key for key in named if key in charged and key not in missing])
    found.counts["lost and booked again"] = rebooked
    found.check(
        len(missing) + rebooked == charges,
        f"{charges} lost charges are named, callers received {len(missing)} of them",
    )


def _check_told(found: Findings, plan: Plan, kept: Journals, lost: list[Loss]) -> None:
    """Check that what processes were told is what is there."""
    epochs_lost = {(loss.account_id, loss.epoch): loss.kept_seq for loss in lost}
    for one in told(plan):
        kept_seq = epochs_lost.get((one.account_id, one.epoch))
        if kept_seq is not None and one.seq > kept_seq:
            continue
        entries = kept[one.account_id]
        if one.seq > len(entries):
            found.wrong.append(f"{one.account_id}: told of {one.seq}, there are {len(entries)}")
            continue
        chain = entries[one.seq - 1].chain
        found.check(chain == one.chain, f"{one.account_id} {one.seq}: another chain than was told")


def _count(found: Findings, plan: Plan, got: list[Received], kept: Journals) -> None:
    found.counts["results received"] = len(got)
    entries = [entry for one in kept.values() for entry in one]
    found.counts["entries"] = len(entries)
    for flag in ("late", "orphan"):
        found.counts[flag] = sum(flag in entry.flags for entry in entries)
    for kind in (Kind.SETTLED, Kind.EXPIRED):
        found.counts[kind.value] = sum(entry.kind is kind for entry in entries)
    found.counts["fell back"] = sum(not one.charged_mc for one in got)
    for worker in range(plan.workers):
        text = plan.errors(worker).read_text(errors="replace")
        found.check("Traceback" not in text, f"worker {worker} wrote: {text[-2_000:]}")
