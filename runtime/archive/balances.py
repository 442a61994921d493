"""Balances of the past: what the ledger said at an instant, expiries included."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from sqlalchemy import func, select

from runtime.archive.errors import EntryDamaged, NotArchived
from runtime.archive.figures import PastBalance, PastGrant
from runtime.archive.rollup import QUARTER_MS
from runtime.archive.snapshot import KIND_G, Snapshot
from runtime.store.schema import entries, movements

_Parts = dict[str, dict[str, int]]


async def past_balance(snapshot: Snapshot, at_ms: int) -> PastBalance:
    """Return the balance at an instant.

    Raises:
        NotArchived: the account was opened later.
        EntryDamaged: the entry of a grant can't be read.
    """
    account = snapshot.account
    if at_ms < account.first_ms:
        raise NotArchived(f"account {account.account_id!r} was opened later: it had no balance yet")
    parts = await _parts_of(snapshot, at_ms)
    # Each script that writes begins with what has expired: as long as there was none since, the
    # expiry is still to be written. After it, what is left of the grant is reserved.
    grants = [
        _expired(grant)
        if grant.expires_at_ms is not None and account.last_ms < grant.expires_at_ms <= at_ms
        else grant
        for grant in await _grants(snapshot, at_ms, parts)
    ]
    return PastBalance(
        account_id=account.account_id,
        timezone=account.timezone,
        at_ms=at_ms,
        granted_mc=sum(grant.amount_mc for grant in grants),
        left_mc=sum(grant.left_mc for grant in grants),
        charged_mc=sum(grant.charged_mc for grant in grants),
        expired_mc=sum(grant.expired_mc for grant in grants),
        voided_mc=sum(grant.voided_mc for grant in grants),
        grants=tuple(grants),
        complete_to_ms=account.complete_to_ms(at_ms),
    )


async def _parts_of(snapshot: Snapshot, at_ms: int) -> _Parts:
    """Return the millicredits of each part, by grant."""
    parts: _Parts = defaultdict(lambda: dict.fromkeys("nacev", 0))

    def move(moved: Iterable[tuple[str, str, int]]) -> None:
        for grant_id, pair, amount_mc in moved:
            parts[grant_id][pair[0]] -= amount_mc
            parts[grant_id][pair[1]] += amount_mc

    slot = at_ms // QUARTER_MS
    columns = (movements.c.grant_id, movements.c.parts)
    query = (
        select(*columns, func.sum(movements.c.amount_mc))
        .where(movements.c.account == snapshot.account.no, movements.c.slot < slot)
        .group_by(*columns)
    )
    found = await snapshot.connection.execute(query)
    move((grant_id, pair, int(amount_mc)) for grant_id, pair, amount_mc in found)
    at, effective = entries.c.at_ms, entries.c.effective_ms
    in_time = await snapshot.rolled_up(at.between(slot * QUARTER_MS, at_ms), effective == at)
    written_late = await snapshot.rolled_up(
        effective.between(slot * QUARTER_MS, at_ms), effective != at
    )
    move(in_time.movements())
    move(written_late.movements())
    return parts


async def _grants(snapshot: Snapshot, at_ms: int, parts: _Parts) -> list[PastGrant]:
    account = snapshot.account
    query = (
        select(entries.c.seq, entries.c.body)
        .where(entries.c.account == account.no, KIND_G, entries.c.at_ms <= at_ms)
        .order_by(entries.c.seq)
    )
    grants = []
    for seq, body in await snapshot.connection.execute(query):
        columns = body.split("\t")
        try:
            grant_id = columns[5].partition(":")[0]
            kind, priority, expires = columns[17].split(";")[:3]
            held = parts[grant_id]
            grants.append(
                PastGrant(
                    grant_id=grant_id,
                    reference=columns[16],
                    kind=kind,
                    priority=int(priority),
                    expires_at_ms=int(expires or 0) or None,
                    amount_mc=-held["n"],
                    left_mc=held["a"],
                    charged_mc=held["c"],
                    expired_mc=held["e"],
                    voided_mc=held["v"],
                )
            )
        except (IndexError, ValueError) as error:
            raise EntryDamaged(account.account_id, seq, str(error)) from None
    return grants


def _expired(grant: PastGrant) -> PastGrant:
    return PastGrant(
        grant_id=grant.grant_id,
        reference=grant.reference,
        kind=grant.kind,
        priority=grant.priority,
        expires_at_ms=grant.expires_at_ms,
        amount_mc=grant.amount_mc,
        left_mc=0,
        charged_mc=grant.charged_mc,
        expired_mc=grant.expired_mc + grant.left_mc,
        voided_mc=grant.voided_mc,
    )
