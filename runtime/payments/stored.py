"""Payments in SQL. Each step is one conditional statement: of two processes one takes it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import and_, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.payments.payment import GIVEN, Dispute, Kind, Payment, State
from runtime.store.reopening import Store
from runtime.store.schema import payers, payment_events, payments, reversals


def now_ms() -> int:
    """Return the time of this process, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def new_payment_id() -> str:
    """Return an id that nobody can guess."""
    return f"pm{secrets.token_hex(10)}"


@dataclass(frozen=True, slots=True)
class Payer:
    """A customer of the payment provider, and the method that it may be charged by."""

    customer_id: str
    method_id: str | None


@dataclass(frozen=True, slots=True)
class Reversal:
    """A step of taking credits back."""

    number: int
    cents: int
    due_mc: int
    reason: str
    grant_id: str | None
    taken_mc: int | None
    rest_grant_id: str | None


class StoredPayments:
    """Payments, events about them, and who pays. Every method may raise ``StoreUnavailable``."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def add(self, connection: AsyncConnection, **values: Any) -> bool:
        """Add a payment unless the account has one of that kind and reference."""
        at_ms = now_ms()
        row = {
            "payment_id": new_payment_id(),
            "state": State.CREATED,
            "keeps_method": False,
            "refunded_cents": 0,
            "disputed_cents": 0,
            "dispute": Dispute.NONE,
            "applied_cents": 0,
            "owed_mc": 0,
            "created_ms": at_ms,
            "updated_ms": at_ms,
            "checked_ms": at_ms,
            "fault": "",
            **values,
        }
        return await insert_new(connection, payments, row)

    async def find(self, payment_id: str) -> Payment | None:
        """Return a payment."""
        return await self._one(payments.c.payment_id == payment_id)

    async def by_reference(self, account_id: str, kind: Kind, reference: str) -> Payment | None:
        """Return the payment of that reference."""
        columns = payments.c
        return await self._one(
            and_(
                columns.account_id == account_id,
                columns.kind == kind,
                columns.reference == reference,
            )
        )

    async def by_intent(self, intent_id: str) -> Payment | None:
        """Return the payment that an intent of the provider's belongs to."""
        return await self._one(payments.c.intent_id == intent_id)

    async def page(
        self, account_id: str | None, *, limit: int, before: tuple[int, str] | None = None
    ) -> Sequence[Payment]:
        """Return payments, newest first; ``before`` is the last one of the page before."""
        columns = payments.c
        query = select(payments)
        if account_id is not None:
            query = query.where(columns.account_id == account_id)
        if before is not None:
            at_ms, payment_id = before
            query = query.where(
                or_(
                    columns.created_ms < at_ms,
                    and_(columns.created_ms == at_ms, columns.payment_id < payment_id),
                )
            )
        query = query.order_by(columns.created_ms.desc(), columns.payment_id.desc()).limit(limit)
        async with self.store.connect() as connection:
            return [_payment(row) for row in await connection.execute(query)]

    async def move(
        self, payment: Payment, states: Collection[State], to: State | None = None, **values: Any
    ) -> bool:
        """Change a payment that is in one of the states; return whether it was."""
        async with self.store.begin() as connection:
            return await self.move_within(connection, payment, states, to, **values)

    async def move_within(
        self,
        connection: AsyncConnection,
        payment: Payment,
        states: Collection[State],
        to: State | None = None,
        **values: Any,
    ) -> bool:
        """Change it as ``move`` does, in the caller's transaction."""
        if to is not None:
            values["state"] = to
        columns = payments.c
        changed = await connection.execute(
            update(payments)
            .where(columns.payment_id == payment.payment_id, columns.state.in_(list(states)))
            .values(updated_ms=now_ms(), **values)
        )
        return changed.rowcount == 1

    async def note_back(
        self, connection: AsyncConnection, payment: Payment, values: dict[str, Any]
    ) -> bool:
        """Store what was paid back, if the payment is still as it was read."""
        columns = payments.c
        changed = await connection.execute(
            update(payments)
            .where(
                columns.payment_id == payment.payment_id,
                columns.refunded_cents == payment.refunded_cents,
                columns.disputed_cents == payment.disputed_cents,
                columns.dispute == payment.dispute,
            )
            .values(updated_ms=now_ms(), **values)
        )
        return changed.rowcount == 1

    async def claim(self, payment: Payment) -> bool:
        """Take a payment's turn, so that no other process does at the same time."""
        columns = payments.c
        async with self.store.begin() as connection:
            changed = await connection.execute(
                update(payments)
                .where(
                    columns.payment_id == payment.payment_id,
                    columns.checked_ms == payment.checked_ms,
                )
                .values(checked_ms=max(now_ms(), payment.checked_ms + 1))
            )
        return changed.rowcount == 1

    async def due(self, *, retry_ms: int, ask_ms: int, limit: int) -> Sequence[Payment]:
        """Return payments to go on with, those that have waited longest first.

        Args:
            retry_ms: the pause between two tries of one that is our turn.
            ask_ms: the same for one that others have to go on with.
        """
        columns, at_ms = payments.c, now_ms()
        ours = or_(
            columns.state == State.PAID,
            and_(columns.state == State.CREATED, columns.kind == Kind.TOP_UP),
            and_(
                columns.state.in_(list(GIVEN)),
                columns.refunded_cents + columns.disputed_cents != columns.applied_cents,
            ),
        )
        query = (
            select(payments)
            .where(
                or_(
                    and_(ours, columns.checked_ms <= at_ms - retry_ms),
                    and_(columns.state == State.OPEN, columns.checked_ms <= at_ms - ask_ms),
                )
            )
            .order_by(columns.checked_ms)
            .limit(limit)
        )
        async with self.store.connect() as connection:
            return [_payment(row) for row in await connection.execute(query)]

    async def was_worked_through(self, event_id: str) -> bool:
        """Return whether an event's effect is stored."""
        query = select(payment_events).where(payment_events.c.event_id == event_id)
        async with self.store.connect() as connection:
            return (await connection.execute(query)).first() is not None

    async def note_event(self, event_id: str, kind: str) -> None:
        """Remember that an event's effect is stored."""
        row = {"event_id": event_id, "kind": kind[:60], "received_ms": now_ms()}
        async with self.store.begin() as connection:
            await insert_new(connection, payment_events, row)

    async def payer(self, account_id: str) -> Payer | None:
        """Return who pays for an account's top-ups."""
        query = select(payers).where(payers.c.account_id == account_id)
        async with self.store.connect() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else Payer(row.customer_id, row.method_id)

    async def set_payer(self, account_id: str, payer: Payer) -> None:
        """Let this customer pay from now on."""
        values = {
            "customer_id": payer.customer_id,
            "method_id": payer.method_id,
            "updated_ms": now_ms(),
        }
        async with self.store.begin() as connection:
            if not await insert_new(connection, payers, {"account_id": account_id, **values}):
                await connection.execute(
                    update(payers).where(payers.c.account_id == account_id).values(**values)
                )

    async def reversals(self, payment_id: str) -> Sequence[Reversal]:
        """Return the steps of taking credits back, the last one last."""
        query = select(*(reversals.c[field.name] for field in fields(Reversal))).where(
            reversals.c.payment_id == payment_id
        )
        async with self.store.connect() as connection:
            rows = await connection.execute(query.order_by(reversals.c.number))
            return [Reversal(*row) for row in rows]

    async def plan_reversal(self, payment_id: str, planned: Reversal) -> None:
        """Store a step before it is taken; nothing, if there is one of that number."""
        row = {field.name: getattr(planned, field.name) for field in fields(Reversal)}
        async with self.store.begin() as connection:
            await insert_new(
                connection,
                reversals,
                {"payment_id": payment_id, "created_ms": now_ms(), "done_ms": None, **row},
            )

    async def finish_reversal(
        self, payment: Payment, step: Reversal, taken_mc: int, rest_grant_id: str | None, **to: Any
    ) -> None:
        """Store a step that was taken, and the payment after it, once."""
        columns = reversals.c
        async with self.store.begin() as connection:
            changed = await connection.execute(
                update(reversals)
                .where(
                    columns.payment_id == payment.payment_id,
                    columns.number == step.number,
                    columns.done_ms.is_(None),
                )
                .values(done_ms=now_ms(), taken_mc=taken_mc, rest_grant_id=rest_grant_id)
            )
            if changed.rowcount == 1:
                await self.move_within(connection, payment, GIVEN, **to)

    async def _one(self, condition: Any) -> Payment | None:
        async with self.store.connect() as connection:
            row = (await connection.execute(select(payments).where(condition))).first()
        return None if row is None else _payment(row)


async def insert_new(connection: AsyncConnection, table: Any, row: dict[str, Any]) -> bool:
    """Insert a row unless one with its key is there; return whether it was inserted."""
    is_postgres = connection.dialect.name == "postgresql"
    insert_ = postgresql.insert if is_postgres else sqlite.insert
    done = await connection.execute(insert_(table).values(**row).on_conflict_do_nothing())
    return done.rowcount == 1


def _payment(row: Any) -> Payment:
    values = {field.name: getattr(row, field.name) for field in fields(Payment)}
    return Payment(
        **{
            **values,
            "kind": Kind(row.kind),
            "state": State(row.state),
            "dispute": Dispute(row.dispute),
            "keeps_method": bool(row.keeps_method),
        }
    )
