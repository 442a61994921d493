"""Everything that must be true of the books of a round when all is quiet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from runtime.archive.audit import Audit
from runtime.credits.journal import JournalEntry, JournalError, Kind, replay, verify
from runtime.credits.results import Balance
from tests.drills.journals import archive_all, audit, come_to_rest
from tests.drills.losses import Loss, Losses
from tests.drills.plan import Plan, Received, lines_of, received, told
from tests.harness.races.books import charged_mc, parts_of

Journals = dict[str, list[JournalEntry]]


@dataclass(slots=True)
class Findings:
    """Counts of a round, and what was wrong."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def check(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.wrong.append(otherwise)


async def check(
    plan: Plan, losses: Losses | None = None, *, each_call_is_charged: bool = False
) -> Findings:
    """Bring a round to rest, archive it and check its books.

    Args:
        losses: what was lost on the way and accepted.
        each_call_is_charged: no process was killed, so that every answered call is charged, once.
    """
    balances = await come_to_rest(plan)
    kept = await archive_all(plan)
    found = Findings()
    got = received(plan)
    lost = []
    if losses is not None:
        lost = losses.found
        found.wrong += losses.wrong
        found.counts["entries lost by the audit"] = losses.audited
    settled = _check_journals(found, kept, balances)
    _check_received(found, got, settled, lost)
    _check_told(found, plan, kept, lost)
    if each_call_is_charged:
        _check_calls(found, plan, kept)
    _check_audit(found, await audit(plan), lost)
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
        # The dead server's disk is gone as well: their count is known, not which are charges.
        found.check(
            len(missing) <= lost_count,
            f"{lost_count} lost entries are named, callers received {len(missing)} lost charges",
        )
        charges = len(missing)
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


def _check_calls(found: Findings, plan: Plan, kept: Journals) -> None:
    """Check that providers answered as many calls, and tokens, as are charged."""
    answered = Counter(
        (tokens_in, tokens_out)
        for worker in range(plan.workers)
        for tokens_in, tokens_out in lines_of(plan.calls(worker))
    )
    charged = Counter(
        (entry.tokens.input_tokens, entry.tokens.output_tokens)
        for entries in kept.values()
        for entry in entries
        if entry.kind is Kind.SETTLED and entry.tokens is not None
    )
    found.check(
        answered == charged, f"{answered.total()} calls were answered, {charged.total()} charged"
    )
    found.counts["calls answered"] = answered.total()


def _check_audit(found: Findings, audited: Audit, lost: list[Loss]) -> None:
    """Check that the audit finds nothing but the losses, and still each of them.

    Where a loss began can't always be told any more: others may have written in its place.
    """
    found.wrong += [f"audit: {one}" for one in audited.differences]
    found.wrong += [f"audit: {one}" for one in audited.damaged_told]
    by_audit = {(one.account_id, one.epoch, one.last_seq) for one in audited.lost}
    by_drill = {(one.account_id, one.epoch, one.told_seq) for one in lost}
    found.check(by_audit == by_drill, f"the audit names {by_audit}, the drill {by_drill}")
    found.counts["entries audited"] = audited.entries


def _count(found: Findings, plan: Plan, got: list[Received], kept: Journals) -> None:
    found.counts["results received"] = len(got)
    entries = [entry for one in kept.values() for entry in one]
    found.counts["entries"] = len(entries)
    for flag in ("late", "orphan"):
        found.counts[flag] = sum(flag in entry.flags for entry in entries)
    for kind in (Kind.SETTLED, Kind.EXPIRED):
        found.counts[kind.value] = sum(entry.kind is kind for entry in entries)
    archived = [count for path in plan.root.glob("archived-*") for count in lines_of(path)]
    found.counts["archived meanwhile"] = sum(count for (count,) in archived)
    found.counts["fell back"] = sum(not one.charged_mc for one in got)
    for worker in range(plan.workers):
        text = plan.errors(worker).read_text(errors="replace")
        found.check("Traceback" not in text, f"worker {worker} wrote: {text[-2_000:]}")
