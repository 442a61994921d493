"""Makes accounts in Redis again from their archived journals, after Redis lost them.

What was not archived yet is lost: every entry behind the archived sequence. What was reserved is
free again, for reservations are not journaled; an ending that comes later is booked as an orphan.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select

from fallback.reasons import KEPT, FallbackReason, Kept
from runtime.archive.entries import (
    ArchivedAccount,
    archived_account,
    archived_accounts,
    archived_pages,
)
from runtime.archive.history import History, charged
from runtime.credits.checks import check_account_id, check_reference
from runtime.credits.clock import own_clock_ms
from runtime.credits.journal import JournalError
from runtime.credits.ledger import CreditLedger
from runtime.credits.rebuilding import (
    AccountFigures,
    GrantFigures,
    OutcomeFigures,
    RebuildRefused,
    ReferenceFigures,
    there_text,
)
from runtime.credits.results import AccountDamaged, AccountUnknown
from runtime.credits.schema import NEWEST
from runtime.store.database import Database
from runtime.store.schema import entries

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STATES = {"s": "settled", "f": "refused", "r": "released"}


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """An account that was made again, or would be: as its entry ``archived_seq`` left it.

    ``archived_ms`` is when that entry was written; nothing that was booked after it is known.
    ``seq`` is the sequence from which the account goes on, ``None`` if nothing was written.
    """

    account_id: str
    schema: int
    archived_seq: int
    archived_ms: int
    seq: int | None
    left_mc: int
    grants: int
    references: int
    outcomes: int


@dataclass(slots=True)
class RebuiltAll:
    """The results for all accounts of the archive.

    ``there`` counts those that Redis has, ``left`` has the others that were not made again, each
    with the reason.
    """

    rebuilt: list[Rebuilt] = field(default_factory=list)
    there: int = 0
    left: dict[str, str] = field(default_factory=dict)


class Rebuilder:
    """Makes accounts again.

    Args:
        clock_ms: this process's clock, by which outcomes are recent and windows of caps are of now.
        on_progress: called with the number of entries that were read since the last call.
    """

    def __init__(
        self,
        ledger: CreditLedger,
        database: Database,
        clock_ms: Callable[[], int] = own_clock_ms,
        on_progress: Callable[[int], None] = lambda entries: None,
    ) -> None:
        self._ledger = ledger
        self._database = database
        self._clock_ms = clock_ms
        self._on_progress = on_progress

    async def rebuild(
        self, account_id: str, *, reason: str, actor: str, dry_run: bool = False
    ) -> Rebuilt:
        """Make one account again; safe to repeat after it was broken off.

        Raises:
            ValueError: an argument is not allowed; the message names it.
            RebuildRefused: the archive has no such account, or Redis has it.
            JournalError: the archive's entries do not continue each other.
            LedgerUnavailable, StoreUnavailable: it was broken off.
        """
        check_account_id(account_id)
        check_reference(reason, "reason")
        check_reference(actor, "actor")
        archived = await archived_account(self._database, account_id)
        if archived is None or archived.seq == 0:
            raise RebuildRefused(f"account {account_id} is not in the archive")
        history = await self._history(archived)
        if dry_run:
            await self._check_missing(archived)
            return _rebuilt(account_id, history, None, 0)
        rebuilding = self._ledger.rebuilding(account_id)
        await rebuilding.begin(archived.seq)
        await rebuilding.write_references(
            [
                ReferenceFigures(name, one.kind, one.compared, one.answer)
                for name, one in history.references.items()
            ]
        )
        grants = _grants(history)
        await rebuilding.write_ended([grant for grant in grants if not grant.available_mc])
        await rebuilding.write_dimensions(list(history.dimensions.items()))
        outcomes = 0
        async for some in self._outcomes(archived, history):
            outcomes += await rebuilding.write_outcomes(some)
        in_use = [grant for grant in grants if grant.available_mc]
        caps = [(cap, one.limit_mc, one.end_ms, one.used_mc) for cap, one in history.caps.items()]
        figures = AccountFigures(_values(history), in_use, caps, sorted(history.off))
        seq = await rebuilding.finish(figures, reason=reason, actor=actor)
        return _rebuilt(account_id, history, seq, outcomes)

    async def rebuild_all(self, *, reason: str, actor: str, dry_run: bool = False) -> RebuiltAll:
        """Make all accounts again that the archive has and Redis has not.

        Raises:
            LedgerUnavailable, StoreUnavailable: it was broken off, and can be repeated.
        """
        found = RebuiltAll()
        for account_id in await archived_accounts(self._database):
            if await self._is_there(account_id):
                found.there += 1
                continue
            try:
                one = await self.rebuild(account_id, reason=reason, actor=actor, dry_run=dry_run)
            except (RebuildRefused, JournalError) as exc:
                found.left[account_id] = str(exc)
            else:
                found.rebuilt.append(one)
        if not dry_run and not found.left:
            # Processes that wait for the data to come back go on from here.
            schema = max((one.schema for one in found.rebuilt), default=NEWEST)
            await self._ledger.store_installation(schema)
        return found

    async def _is_there(self, account_id: str) -> bool:
        """Return whether Redis has an account, and all of it that the archive has."""
        archived = await archived_account(self._database, account_id)
        try:
            stored = await self._ledger.inspection.stored(account_id)
        except (AccountUnknown, AccountDamaged):
            return False
        return archived is not None and stored.seq >= archived.seq

    async def _check_missing(self, archived: ArchivedAccount) -> None:
        """Refuse what ``Rebuilding.begin`` would refuse."""
        try:
            stored = await self._ledger.inspection.stored(archived.account_id)
        except (AccountUnknown, AccountDamaged):
            return
        raise RebuildRefused(there_text(archived.account_id, stored.seq, archived.seq))

    async def _history(self, archived: ArchivedAccount) -> History:
        history = History()
        async for page in archived_pages(self._database, archived.no, 0, archived.seq):
            for entry in page:
                history.apply(entry)
            self._on_progress(len(page))
        if (history.books.seq, history.books.chain) != (archived.seq, archived.chain):
            raise RebuildRefused(
                f"account {archived.account_id}: the archive's entries end at "
                f"{history.books.seq}, and it says that {archived.seq} are archived: "
                f"creditgate audit --account {archived.account_id}"
            )
        return history

    async def _recent(
        self, archived: ArchivedAccount, since_ms: int
    ) -> AsyncIterator[list[tuple[int, list[str]]]]:
        """Yield sequence and columns of entries since a moment, some at a time."""
        query = select(func.min(entries.c.seq)).where(
            entries.c.account == archived.no, entries.c.at_ms >= since_ms
        )
        async with self._database.connect() as connection:
            first = (await connection.execute(query)).scalar()
        if first is None:
            return
        async for page in archived_pages(self._database, archived.no, first - 1, archived.seq):
            yield [(entry.seq, entry.columns()) for entry in page]

    async def _outcomes(
        self, archived: ArchivedAccount, history: History
    ) -> AsyncIterator[list[OutcomeFigures]]:
        ttl_ms = self._ledger.settings.outcome_ttl_ms
        async for page in self._recent(archived, self._clock_ms() - ttl_ms):
            yield [
                OutcomeFigures(
                    execution_key=columns[4],
                    dimensions=history.dimensions_of(columns),
                    state=_STATES[columns[2]],
                    charged_mc=charged(columns),
                    overage_mc=int(columns[12] or 0),
                    reason="" if columns[2] == "s" else columns[11],
                    gone_at_ms=int(columns[3]) + ttl_ms,
                )
                for _, columns in page
                if _is_outcome(columns)
            ]


def _is_outcome(columns: list[str]) -> bool:
    """Return whether an entry made the outcome of an execution, as far as the journal tells."""
    if columns[2] in "sf":
        return True
    # Whether a provider rejected a request for its own fault is not in the journal.
    return (
        columns[2] == "r" and columns[11] != "" and KEPT[FallbackReason(columns[11])] is Kept.ALWAYS
    )


def _grants(history: History) -> list[GrantFigures]:
    return [
        GrantFigures(
            grant_id,
            terms.kind,
            terms.reference,
            terms.priority,
            terms.expires_ms,
            terms.created_ms,
            *_parts(history.books.grants[grant_id]),
            terms.voided_ms,
        )
        for grant_id, terms in history.grants.items()
    ]


def _parts(grant: list[int]) -> tuple[int, int, int, int, int]:
    granted, left, charged, expired, voided = grant
    return granted, left, charged, expired, voided


def _values(history: History) -> tuple[str | int, ...]:
    """Return the values of the account in the order of ``rebuild_finish.lua``."""
    books = history.books
    charged, expired, voided = (
        sum(grant[column] for grant in books.grants.values()) for column in (2, 3, 4)
    )
    return (
        history.version,  # accounts of a schema write entries of its number
        history.epoch,
        history.state,
        history.plan,
        history.eligible,
        history.timezones[-1][1],
        books.seq,
        books.chain,
        history.last_ms,
        len(history.grants),
        books.granted_mc,
        charged,
        expired,
        voided,
        books.overage_mc,
        books.exposure_mc,
        history.top_mc,
        len(history.references),
        len(history.dimensions),
    )


def _rebuilt(account_id: str, history: History, seq: int | None, outcomes: int) -> Rebuilt:
    return Rebuilt(
        account_id=account_id,
        schema=history.version,  # accounts of a schema write entries of its number
        archived_seq=history.books.seq,
        archived_ms=history.last_ms,
        seq=seq,
        left_mc=history.books.left_mc,
        grants=len(history.grants),
        references=len(history.references),
        outcomes=outcomes,
    )


def _ms(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(milliseconds=1)
