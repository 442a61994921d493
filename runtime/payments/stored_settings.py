"""The settings of top-ups in SQL, and the one place where a top-up's payment begins."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.payments.payment import UNFINISHED, Kind, Payment, State
from runtime.payments.stored import Payer, StoredPayments, insert_new, now_ms
from runtime.payments.top_up import HOUR_MS, MOST_AN_HOUR, TopUpSettings, read_settings
from runtime.store.schema import account_settings, payments

NAME = "top_up"
NO_ETAG = "none"
"""The ETag of settings that nobody has made yet."""

_ETAG_BYTES = 16
_NOT_TAKEN = (State.FAILED, State.EXPIRED)


@dataclass(frozen=True, slots=True)
class StoredSettings:
    """Settings with the ETag that they have."""

    settings: TopUpSettings
    etag: str


@dataclass(frozen=True, slots=True)
class Course:
    """The number of top-ups that an account has begun; one may be under way."""

    begun: int
    unfinished: bool


class SettingsStore:
    """Settings of top-ups. Every method may raise ``StoreUnavailable``."""

    def __init__(self, stored: StoredPayments) -> None:
        self._stored = stored
        self._store = stored.store

    async def read(self, account_id: str) -> StoredSettings:
        """Return an account's settings."""
        async with self._store.connect() as connection:
            return await _read(connection, account_id)

    async def write(self, account_id: str, settings: TopUpSettings, etag: str) -> str | None:
        """Replace settings that have this ETag; return the new one, ``None`` if they have not."""
        async with self._store.begin() as connection:
            return await _write(connection, account_id, settings, etag)

    async def change(
        self, account_id: str, change: Callable[[TopUpSettings], TopUpSettings]
    ) -> bool:
        """Change settings whatever their ETag is; return whether that changed anything."""
        async with self._store.begin() as connection:
            return await self.change_within(connection, account_id, change)

    async def change_within(
        self,
        connection: AsyncConnection,
        account_id: str,
        change: Callable[[TopUpSettings], TopUpSettings],
    ) -> bool:
        """Change settings as ``change`` does, in the caller's transaction."""
        while True:
            found = await _read(connection, account_id)
            changed = change(found.settings)
            if changed == found.settings:
                return False
            if await _write(connection, account_id, changed, found.etag) is not None:
                return True

    async def active_accounts(self) -> Sequence[str]:
        """Return the accounts that top-ups are made for."""
        query = select(account_settings.c.account_id, account_settings.c.value).where(
            account_settings.c.name == NAME
        )
        async with self._store.connect() as connection:
            rows = await connection.execute(query)
            return [row.account_id for row in rows if read_settings(row.value).is_active]

    async def course(self, account_id: str) -> Course:
        """Return how many top-ups have begun. It has to be read before the balance is."""
        columns = payments.c
        query = select(columns.state, func.count()).where(
            columns.account_id == account_id, columns.kind == Kind.TOP_UP
        )
        async with self._store.connect() as connection:
            counts = {
                State(state): count
                for state, count in await connection.execute(query.group_by(columns.state))
            }
        return Course(sum(counts.values()), any(state in UNFINISHED for state in counts))

    async def spent_cents(self, account_id: str, since_ms: int) -> int:
        """Return what top-ups have taken since then, or may still take."""
        columns = payments.c
        query = select(func.sum(columns.price_cents)).where(
            columns.account_id == account_id,
            columns.kind == Kind.TOP_UP,
            columns.created_ms >= since_ms,
            columns.state.not_in(_NOT_TAKEN),
        )
        async with self._store.connect() as connection:
            return int((await connection.execute(query)).scalar() or 0)

    async def begin(
        self, found: StoredSettings, course: Course, payer: Payer, **payment: object
    ) -> str:
        """Begin the next top-up, unless another process has; return ``begun``, or why not.

        The row comes first and the checks after it, in one transaction: whoever inserts the next
        number is alone until then.
        """
        account_id = str(payment["account_id"])
        async with self._store.begin() as connection:
            is_first = await self._stored.add(
                connection,
                kind=Kind.TOP_UP,
                reference=f"top-up:{course.begun + 1}",
                customer_id=payer.customer_id,
                method_id=payer.method_id,
                **payment,
            )
            if not is_first:
                return "begun elsewhere"
            now = await _read(connection, account_id)
            recent = await _recent(connection, account_id)
            if now.etag == found.etag and recent <= MOST_AN_HOUR:
                return "begun"
            await connection.rollback()
        return "runaway" if now.etag == found.etag else "changed"

    async def may_send(self, payment: Payment) -> bool:
        """Note that a top-up is about to be charged; ``False`` if it no longer may begin.

        One that may have been sent before is sent again: its outcome has to be known.
        """
        async with self._store.begin() as connection:
            moved = await self._stored.move_within(
                connection, payment, {State.CREATED}, sent_ms=payment.sent_ms or now_ms()
            )
            if not moved or payment.sent_ms is not None:
                return moved
            found = await _read(connection, payment.account_id)
            if found.settings.is_active:
                return True
            await self._stored.move_within(
                connection,
                payment,
                {State.CREATED},
                State.FAILED,
                sent_ms=None,
                fault="top-ups were switched off before it was paid",
            )
        return False


async def _read(connection: AsyncConnection, account_id: str) -> StoredSettings:
    columns = account_settings.c
    query = select(columns.value, columns.etag).where(
        columns.account_id == account_id, columns.name == NAME
    )
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        return StoredSettings(TopUpSettings(), NO_ETAG)
    return StoredSettings(read_settings(row.value), row.etag)


async def _write(
    connection: AsyncConnection, account_id: str, settings: TopUpSettings, etag: str
) -> str | None:
    columns = account_settings.c
    new_etag = secrets.token_urlsafe(_ETAG_BYTES)
    values = {
        "value": settings.text(),
        "etag": new_etag,
        "updated_ms": now_ms(),
    }
    if etag == NO_ETAG:
        row = {"account_id": account_id, "name": NAME, **values}
        done = await insert_new(connection, account_settings, row)
    else:
        changed = await connection.execute(
            update(account_settings)
            .where(columns.account_id == account_id, columns.name == NAME, columns.etag == etag)
            .values(**values)
        )
        done = changed.rowcount == 1
    return new_etag if done else None


async def _recent(connection: AsyncConnection, account_id: str) -> int:
    """Return how many top-ups began within an hour, the one that begins now included."""
    columns = payments.c
    query = select(func.count()).where(
        columns.account_id == account_id,
        columns.kind == Kind.TOP_UP,
        columns.created_ms > now_ms() - HOUR_MS,
    )
    return int((await connection.execute(query)).scalar_one())
