"""Deliveries: each message on its way to each destination, until it is there or given up."""

from __future__ import annotations

import logging
import random
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, and_, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from pricing.errors import CreditgateError
from runtime.alerts.destinations import Destination, Destinations
from runtime.alerts.events import Message
from runtime.archive.errors import CursorRefused
from runtime.archive.writing import insert
from runtime.store.reopening import Store
from runtime.store.schema import deliveries

RETRY_AFTER_S = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""The pauses after failures, each 10% longer or shorter at random: some 75 hours in all."""

LEASE_MS = 120_000
"""Above the longest attempt: then another process takes what one that died had begun."""

KEPT_MS = 90 * 86_400_000
"""The time for which deliveries are kept after they ended."""

STATES = ("waiting", "delivered", "dead")
NOBODY = "none"
_NOBODY_THERE = "the account has no contact and no destination, and the operator has none"
_log = logging.getLogger("creditgate.alerts")
_SPREAD = 0.1
_CURSOR = re.compile(r"([0-9]{1,16})\.([A-Za-z0-9_]{1,64})", re.ASCII)


class DeliveryUnknown(CreditgateError):
    """There is no such delivery."""

    def __init__(self, delivery_id: str) -> None:
        super().__init__(f"there is no delivery {delivery_id!r}")


class DeliveryRefused(CreditgateError):
    """The delivery can't be sent again."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message for one destination. Instants are milliseconds since 1970."""

    delivery_id: str
    destination_id: str
    kind: str
    target: str
    account_id: str | None
    event: str
    body: str
    state: str
    attempts: int
    created_ms: int
    next_ms: int
    ended_ms: int | None
    fault: str


class Deliveries:
    """The deliveries in SQL.

    Raises (all methods):
        StoreUnavailable: the database can't be reached.
    """

    def __init__(self, store: Store, destinations: Destinations) -> None:
        self._store = store
        self._destinations = destinations

    async def add(self, messages: Sequence[Message]) -> int:
        """Write the deliveries of messages in one transaction; return how many are new.

        Those that are there already, by this process or another, are left as they are.
        """
        async with self._store.begin() as connection:
            return await self.add_within(connection, messages)

    async def add_within(self, connection: AsyncConnection, messages: Sequence[Message]) -> int:
        """Write the deliveries of messages in the caller's transaction."""
        added = 0
        adding = insert(await self._store.database(), deliveries).on_conflict_do_nothing()
        for message in messages:
            targets = await self._destinations.of_message(connection, message)
            if targets is None:
                _log.warning("nobody is told of %s: %s", message.event, _NOBODY_THERE)
                rows = [_told_to_nobody(message)]
            else:
                rows = [_row(message, each) for each in targets]
            for row in rows:
                added += (await connection.execute(adding.values(**row))).rowcount
        return added

    async def add_test(self, message: Message, destination: Destination) -> str:
        """Write the delivery of a message to one destination; return its id."""
        row = _row(message, destination)
        async with self._store.begin() as connection:
            adding = insert(await self._store.database(), deliveries).on_conflict_do_nothing()
            await connection.execute(adding.values(**row))
        return str(row["delivery_id"])

    async def due(self, most: int) -> list[str]:
        """Return destinations that something is due for, the longest due first."""
        due_ms = func.min(deliveries.c.next_ms)
        query = (
            select(deliveries.c.destination_id)
            .where(deliveries.c.state == "waiting", deliveries.c.next_ms <= _now_ms())
            .group_by(deliveries.c.destination_id)
            .order_by(due_ms)
            .limit(most)
        )
        async with self._store.connect() as connection:
            return [row.destination_id for row in await connection.execute(query)]

    async def due_for(self, destination_id: str, most: int) -> list[Delivery]:
        """Return what is due for a destination, the longest due first."""
        query = (
            select(deliveries)
            .where(
                deliveries.c.destination_id == destination_id,
                deliveries.c.state == "waiting",
                deliveries.c.next_ms <= _now_ms(),
            )
            .order_by(deliveries.c.next_ms)
            .limit(most)
        )
        async with self._store.connect() as connection:
            return [_delivery(row) for row in await connection.execute(query)]

    async def claim(self, delivery: Delivery) -> bool:
        """Begin an attempt; return False if another process did, or it has ended."""
        query = (
            update(deliveries)
            .filter_by(
                delivery_id=delivery.delivery_id,
                state="waiting",
                attempts=delivery.attempts,
                next_ms=delivery.next_ms,
            )
            .values(attempts=delivery.attempts + 1, next_ms=_now_ms() + LEASE_MS)
        )
        async with self._store.begin() as connection:
            return bool((await connection.execute(query)).rowcount)

    async def delivered(self, delivery: Delivery) -> None:
        """End a delivery whose attempt succeeded."""
        await self._end(delivery, "delivered", "")

    async def failed(self, delivery: Delivery, fault: str, *, for_good: bool = False) -> None:
        """Note a failed attempt: the next one is later, or the delivery is dead."""
        if for_good or delivery.attempts >= len(RETRY_AFTER_S):
            await self._end(delivery, "dead", fault)
            return
        jitter = random.uniform(1 - _SPREAD, 1 + _SPREAD)  # noqa: S311 - no cryptography
        next_ms = _now_ms() + int(RETRY_AFTER_S[delivery.attempts] * 1_000 * jitter)
        await self._change(delivery.delivery_id, next_ms=next_ms, fault=fault[:400])

    async def find(self, delivery_id: str) -> Delivery:
        """Return a delivery.

        Raises:
            DeliveryUnknown: there is none.
        """
        async with self._store.connect() as connection:
            query = select(deliveries).filter_by(delivery_id=delivery_id)
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise DeliveryUnknown(delivery_id)
        return _delivery(row)

    async def resend(self, delivery: Delivery) -> None:
        """Send a delivery again that has ended, from its first attempt on.

        Raises:
            DeliveryRefused: it waits already, or has no destination.
        """
        if delivery.kind == NOBODY:
            raise DeliveryRefused("nobody was there to be told: it has no destination")
        if delivery.state == "waiting":
            raise DeliveryRefused("it waits for its next attempt")
        values = {"state": "waiting", "attempts": 0, "next_ms": _now_ms(), "ended_ms": None}
        await self._change(delivery.delivery_id, **values)

    async def listed(
        self,
        account_id: str | None,
        *,
        state: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
        everybody: bool = False,
    ) -> tuple[list[Delivery], str | None]:
        """Return a page of deliveries, the newest first, and the cursor of the next one.

        Args:
            account_id: whose; ``None`` for the operator's own.
            everybody: all accounts' and the operator's, whatever ``account_id`` says.

        Raises:
            CursorRefused: no page ended with this cursor.
        """
        query = select(deliveries)
        if not everybody:
            query = query.where(deliveries.c.account_id.is_not_distinct_from(account_id))
        if state is not None:
            query = query.where(deliveries.c.state == state)
        if cursor is not None:
            at_ms, delivery_id = _behind(cursor)
            same = and_(deliveries.c.created_ms == at_ms, deliveries.c.delivery_id < delivery_id)
            query = query.where(or_(deliveries.c.created_ms < at_ms, same))
        query = query.order_by(deliveries.c.created_ms.desc(), deliveries.c.delivery_id.desc())
        async with self._store.connect() as connection:
            rows = (await connection.execute(query.limit(limit + 1))).all()
        found = [_delivery(row) for row in rows[:limit]]
        is_last = len(rows) <= limit
        return found, None if is_last else f"{found[-1].created_ms}.{found[-1].delivery_id}"

    async def forget_old(self) -> int:
        """Remove what ended long ago; return how much that was."""
        query = delete(deliveries).where(deliveries.c.ended_ms < _now_ms() - KEPT_MS)
        async with self._store.begin() as connection:
            return (await connection.execute(query)).rowcount

    async def _end(self, delivery: Delivery, state: str, fault: str) -> None:
        await self._change(delivery.delivery_id, state=state, fault=fault[:400], ended_ms=_now_ms())

    async def _change(self, delivery_id: str, **values: Any) -> None:
        query = update(deliveries).filter_by(delivery_id=delivery_id).values(**values)
        async with self._store.begin() as connection:
            await connection.execute(query)


def _row(message: Message, destination: Destination) -> dict[str, Any]:
    now_ms = _now_ms()
    return {
        "delivery_id": message.delivery_id(destination.destination_id),
        "destination_id": destination.destination_id,
        "kind": destination.kind,
        "target": destination.target,
        "account_id": message.account_id,
        "event": message.event,
        "body": message.body,
        "state": "waiting",
        "attempts": 0,
        "created_ms": now_ms,
        "next_ms": now_ms,
        "ended_ms": None,
        "fault": "",
    }


def _told_to_nobody(message: Message) -> dict[str, Any]:
    row = _row(message, Destination("", message.account_id, NOBODY, ""))
    return row | {"state": "dead", "ended_ms": row["created_ms"], "fault": _NOBODY_THERE}


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(**row._asdict())


def _behind(cursor: str) -> tuple[int, str]:
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise CursorRefused(f"{cursor!r} is not a cursor; use the one that a page ended with")
    return int(found[1]), found[2]


def random_key() -> str:
    """Return a once_key that nothing else has."""
    return secrets.token_hex(16)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
